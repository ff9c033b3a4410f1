"""Exams: problems, strata and how a model is examined on them."""
