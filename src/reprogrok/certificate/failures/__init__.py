"""Wrong and open leaves -> conditions that describe them, with exact counts, and their text."""
