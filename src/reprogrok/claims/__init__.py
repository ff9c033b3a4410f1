"""Published statements + evidence -> verdicts: claims, evidence, quantities, tests, audit, ledger; no `train`."""
