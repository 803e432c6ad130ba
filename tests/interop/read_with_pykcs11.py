"""What PyKCS11 sees on a token, as JSON.

Run as ``python read_with_pykcs11.py MODULE LABEL``, the PIN on standard input, in a process of its own: two bindings in
one process finalise each other's module.
"""

import json
import sys

import PyKCS11
from PyKCS11.LowLevel import (
    CKA_CLASS,
    CKA_EXTRACTABLE,
    CKA_ID,
    CKA_LABEL,
    CKA_LOCAL,
    CKA_PRIVATE,
    CKA_SENSITIVE,
    CKA_VALUE,
    CKO_CERTIFICATE,
    CKO_PRIVATE_KEY,
)


def main(module: str, label: str, pin: str) -> dict[str, list[dict[str, object]]]:
    library = PyKCS11.PyKCS11Lib()
    library.load(module)
    slot = next(slot for slot in library.getSlotList(tokenPresent=True) if _label(library, slot) == label)
    session = library.openSession(slot)
    session.login(pin)
    certificates = [
        {"id": bytes(key_id).hex(), "label": text, "der": bytes(value).hex()}
        for key_id, text, value in _read(session, CKO_CERTIFICATE, [CKA_ID, CKA_LABEL, CKA_VALUE])
    ]
    keys = [
        {"id": bytes(key_id).hex(), "label": text, "sensitive": s, "extractable": e, "private": p, "local": made_here}
        for key_id, text, s, e, p, made_here in _read(
            session, CKO_PRIVATE_KEY, [CKA_ID, CKA_LABEL, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_PRIVATE, CKA_LOCAL]
        )
    ]
    return {"certificates": certificates, "keys": keys}


def _label(library: PyKCS11.PyKCS11Lib, slot: int) -> str:
    return library.getTokenInfo(slot).label.strip().strip("\0")


def _read(session: PyKCS11.Session, object_class: int, attributes: list[int]) -> list[list[object]]:
    return [session.getAttributeValue(found, attributes) for found in session.findObjects([(CKA_CLASS, object_class)])]


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:], pin=sys.stdin.readline().strip())))
