"""A model or a series -> numbers, each with the id of its definition, and the registry of all metrics."""
