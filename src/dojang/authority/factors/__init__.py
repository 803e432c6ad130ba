"""The factors that issuing asks for: what is wanted, what was passed, and that nothing is issued without it."""
