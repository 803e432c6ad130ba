"""Seeds on devices with an OATH application (as on YubiKeys), reached over PC/SC.

``devices`` finds what is plugged in, ``accounts`` lists, adds, computes and deletes, ``plugged`` tells quickly what is
there. Yubico's library and pyscard (the extra ``smartcard``) are loaded by the first function that needs a reader.
"""
