"""A person at a terminal: commands, prompts, tables, JSON and exit codes."""
