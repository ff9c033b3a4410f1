"""A model or a record -> numbers, each with its definition and its uncertainty."""
