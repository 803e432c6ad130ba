"""Seeds on PKCS#11 tokens: the key stays there, its counter is kept here."""
