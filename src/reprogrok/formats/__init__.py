"""Files of tensors, problems and logs, ours and those of other projects, read safely."""
