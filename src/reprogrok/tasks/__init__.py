"""Tasks, operations, splits and their audit, loss bounds and counter-based random streams."""
