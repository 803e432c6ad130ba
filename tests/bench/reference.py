"""python-pkcs11 signing on the bench's token, for comparison: reads "rsa SECONDS" or "ec SECONDS", prints a rate."""

import sys
from time import perf_counter

import pkcs11

token = pkcs11.lib(sys.argv[1]).get_token(token_label="bench")
data = {"rsa": b"\7" * 51, "ec": b"\7" * 32}
key_type = {"rsa": pkcs11.KeyType.RSA, "ec": pkcs11.KeyType.EC}
mechanism = {"rsa": pkcs11.Mechanism.RSA_PKCS, "ec": pkcs11.Mechanism.ECDSA}

with token.open(user_pin=sys.argv[2]) as session:
    for line in sys.stdin:
        kind, seconds = line.split()
        search = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.Attribute.KEY_TYPE: key_type[kind]}
        key = next(iter(list(session.get_objects(search))))
        done, end = 0, perf_counter() + float(seconds)
        while perf_counter() < end:
            key.sign(data[kind], mechanism=mechanism[kind])
            done += 1
        print(done / float(seconds), flush=True)
