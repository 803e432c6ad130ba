"""What python-pkcs11 sees on a token, and a signature by each key over ``b"interop"``, as JSON.

Run as ``python read_with_python_pkcs11.py MODULE LABEL``, the PIN on standard input, in a process of its own.
"""

import hashlib
import json
import sys

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

MESSAGE = b"interop"
SHA256_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def main(module: str, label: str, pin: str) -> dict[str, list[dict[str, str]]]:
    with pkcs11.lib(module).get_token(token_label=label).open(user_pin=pin) as session:
        certificates = [
            {"id": found[Attribute.ID].hex(), "label": found[Attribute.LABEL], "der": found[Attribute.VALUE].hex()}
            for found in list(session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE}))
        ]
        keys = [
            {"id": key.id.hex(), "label": key.label, "kind": key.key_type.name, "signature": _sign(key).hex()}
            for key in list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}))
        ]
    return {"certificates": certificates, "keys": keys}


def _sign(key: pkcs11.PrivateKey) -> bytes:
    digest = hashlib.sha256(MESSAGE).digest()
    if key.key_type == KeyType.RSA:
        return key.sign(SHA256_DIGEST_INFO + digest, mechanism=Mechanism.RSA_PKCS)
    if key.key_type == KeyType.EC:
        return key.sign(digest, mechanism=Mechanism.ECDSA)
    return key.sign(MESSAGE, mechanism=Mechanism.EDDSA)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:], pin=sys.stdin.readline().strip())))
