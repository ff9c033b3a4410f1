"""A gate and an experiment -> whether each criterion can pass and can fail, before any run."""
