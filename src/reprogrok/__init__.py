"""reprogrok: a claim about training goes in, a checked verdict comes out."""

__version__ = "0.1.0"

__all__ = ["__version__"]
