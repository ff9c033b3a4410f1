"""Experiment and data -> record: the engine with its replica axis, its jobs, saved work and publication."""
