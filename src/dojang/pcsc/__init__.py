"""Cards in PC/SC readers, spoken to directly: what a PKCS#11 module does not do (the extra ``smartcard``).

``wire`` is the line to a card, ``told`` what goes wrong in our words, ``piv`` stores a certificate on a PIV card. The
OATH application is ``dojang.otp.oath``'s. Nothing here is imported before a card is wanted.
"""
