"""Proofs x checkpoint -> confirmed bounds. Trusted: imports neither `search` nor `failures`, and holds no prose."""
