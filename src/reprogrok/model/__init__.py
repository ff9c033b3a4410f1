"""The tiny decoder: shapes, initialisation, forward pass and devices."""
