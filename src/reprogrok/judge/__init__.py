"""Criteria, comparisons -> verdicts. Knows records and measurements, never the trainer."""
