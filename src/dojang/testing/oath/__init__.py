"""An emulated security key with PIV keys and one-time passwords on it (Yubico's YKOATH protocol), as a YubiKey 5 has.

    from dojang.testing.oath import SecurityKey
    from dojang.testing.piv import plugged_in

    with plugged_in(SecurityKey()) as (setup, key, daemon, port):
        key.oath.put("Bank:hong", b"12345678901234567890", touch=True)
        key.finger.touch()                 # the next calculation that waits for a finger goes on
        key.faults.add(removal(), on=OathIns.CALCULATE)

The PIV application, readers and faults are those of ``dojang.testing.piv``.
"""

from dojang.testing.oath.applet import Account, OathApplet, OathIns, OathStatus
from dojang.testing.oath.finger import Finger
from dojang.testing.oath.security_key import SecurityKey

__all__ = ["Account", "Finger", "OathApplet", "OathIns", "OathStatus", "SecurityKey"]
