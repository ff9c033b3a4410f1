"""Records -> analyses: one run or several, their snapshots, curves, pictures and comparisons."""
