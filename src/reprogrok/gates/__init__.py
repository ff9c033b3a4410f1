"""Criteria + a run or a plan -> GO or NO_GO: criteria, operators, requirements, controls, preflight; no `train`."""
