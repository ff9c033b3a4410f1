"""The tiny decoder: shapes, initialisation, forward pass, devices."""
