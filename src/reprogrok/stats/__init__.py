"""Counts and times -> intervals and exact tests; SciPy computes all of them."""
