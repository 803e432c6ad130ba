"""The resident agent: one login on a token, held behind a socket for many commands.

It answers the SSH agent protocol (draft-ietf-sshm-ssh-agent), so ``ssh`` and ``git`` sign with it as they are. What
dojang itself asks are extensions of that protocol. No request gives out a PIN or a key.
"""
