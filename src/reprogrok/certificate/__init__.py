"""A checkpoint -> a certificate about every problem of its task: checker, search, failures, document and tables."""
