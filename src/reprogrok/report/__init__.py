"""Results -> tables, plots, pages. Knows what a result is, never how it was made."""
