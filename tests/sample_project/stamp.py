"""stamp: writes beside a document the signature that a key on a token makes of it.

    STAMP_PIN=… python stamp.py MODULE TOKEN KEY-ID DOCUMENT

A small program with a PKCS#11 binding of its own; it knows nothing of dojang. What tests it does.
"""

import os
import sys
from hashlib import sha256
from pathlib import Path

from pkcs11.util.ec import encode_ecdsa_signature

import pkcs11


class NoSuchToken(Exception):
    """No token of that name is plugged in."""


def stamp(document: Path, *, module: str, token: str, key_id: bytes, pin: str) -> Path:
    """The file with the signature (SHA-256 with RSA or ECDSA, or Ed25519) of ``document``."""
    plugged_in = [one for one in pkcs11.lib(module).get_tokens() if one.label == token]
    if not plugged_in:
        raise NoSuchToken(token)
    with plugged_in[0].open(user_pin=pin) as session:
        key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, id=key_id)
        signature = _sign(key, document.read_bytes())
    target = document.with_name(f"{document.name}.sig")
    target.write_bytes(signature)
    return target


def _sign(key: pkcs11.PrivateKey, data: bytes) -> bytes:
    if key.key_type == pkcs11.KeyType.RSA:
        return key.sign(data, mechanism=pkcs11.Mechanism.SHA256_RSA_PKCS)
    if key.key_type == pkcs11.KeyType.EC:
        return encode_ecdsa_signature(key.sign(sha256(data).digest(), mechanism=pkcs11.Mechanism.ECDSA))
    return key.sign(data, mechanism=pkcs11.Mechanism.EDDSA)


def main() -> int:
    module, token, key_id, document = sys.argv[1:]
    try:
        stamp(Path(document), module=module, token=token, key_id=bytes.fromhex(key_id), pin=os.environ["STAMP_PIN"])
    except NoSuchToken:
        print(f"Plug in the token {token}.", file=sys.stderr)
        return 1
    except pkcs11.PinLocked:
        print("The PIN is locked. Ask your administrator.", file=sys.stderr)
        return 2
    except pkcs11.PinIncorrect:
        print("That PIN is wrong.", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
