"""Spec + data -> record: the engine with its replica axis, and what drives it."""
