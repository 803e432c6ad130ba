"""The resident agent: one login on a token, held behind a socket for many commands."""
