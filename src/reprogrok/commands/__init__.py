"""One file a command: its body, which puts rooms together; imported when the command runs, never for `--help`."""
