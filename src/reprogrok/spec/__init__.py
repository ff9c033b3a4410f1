"""Everything that decides the results of a replica, as frozen dataclasses; no torch.

Every field that changes a result stands in `params.yaml` and enters the digest. A spec is checked when it is read
(`params`) and never mutated; `dataclasses.replace` makes a variant.
"""
