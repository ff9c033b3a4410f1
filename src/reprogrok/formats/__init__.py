"""Tensors and logs in and out of files, ours and those of others, safely."""
