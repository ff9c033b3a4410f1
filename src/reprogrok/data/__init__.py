"""Tasks, encodings, hold-outs and counter-based random streams."""
