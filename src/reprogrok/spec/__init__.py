"""Everything that decides the results of a replica, as frozen dataclasses; no torch.

A spec is complete: every field that changes a result stands in `params.yaml` and enters the digest. It is checked when
it is read (`params`) and never changed; `dataclasses.replace` makes a variant.
"""
