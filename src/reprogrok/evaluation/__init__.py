"""Evaluations of checkpoints on exams: examination, comparison, manifests, tables and documents."""
