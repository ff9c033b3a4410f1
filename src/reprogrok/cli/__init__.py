"""The commands, one per file: each parses, calls and prints. torch is imported only inside a command that needs it."""
