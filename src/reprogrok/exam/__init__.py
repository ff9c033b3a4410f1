"""Exams: problems in strata, and the examination of models."""
