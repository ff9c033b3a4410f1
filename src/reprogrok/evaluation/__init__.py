"""Checkpoints on exams -> evaluations: examination, comparison, manifests and their tables."""
