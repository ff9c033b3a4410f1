"""Logs, evaluations and claims -> findings: numbers that cannot be, or that do not fit together."""
