"""The object identifiers of CMS, in DER, and what each names."""

from dojang.der import oid

DATA = oid("1.2.840.113549.1.7.1")
SIGNED_DATA = oid("1.2.840.113549.1.7.2")

CONTENT_TYPE = oid("1.2.840.113549.1.9.3")
MESSAGE_DIGEST = oid("1.2.840.113549.1.9.4")
SIGNING_TIME = oid("1.2.840.113549.1.9.5")
SIGNING_CERTIFICATE = oid("1.2.840.113549.1.9.16.2.12")
SIGNING_CERTIFICATE_V2 = oid("1.2.840.113549.1.9.16.2.47")


DIGESTS = {
    "md5": oid("1.2.840.113549.2.5"),
    "sha1": oid("1.3.14.3.2.26"),
    "sha224": oid("2.16.840.1.101.3.4.2.4"),
    "sha256": oid("2.16.840.1.101.3.4.2.1"),
    "sha384": oid("2.16.840.1.101.3.4.2.2"),
    "sha512": oid("2.16.840.1.101.3.4.2.3"),
}
DIGEST_NAMES = {der: name for name, der in DIGESTS.items()}

RSA = oid("1.2.840.113549.1.1.1")
RSA_PSS = oid("1.2.840.113549.1.1.10")
MGF1 = oid("1.2.840.113549.1.1.8")
ED25519 = oid("1.3.101.112")
RSA_WITH = {
    "md5": oid("1.2.840.113549.1.1.4"),
    "sha1": oid("1.2.840.113549.1.1.5"),
    "sha224": oid("1.2.840.113549.1.1.14"),
    "sha256": oid("1.2.840.113549.1.1.11"),
    "sha384": oid("1.2.840.113549.1.1.12"),
    "sha512": oid("1.2.840.113549.1.1.13"),
}
ECDSA_WITH = {
    "sha1": oid("1.2.840.10045.4.1"),
    "sha224": oid("1.2.840.10045.4.3.1"),
    "sha256": oid("1.2.840.10045.4.3.2"),
    "sha384": oid("1.2.840.10045.4.3.3"),
    "sha512": oid("1.2.840.10045.4.3.4"),
}
WITH_HASH = {der: ("pkcs1v15", name) for name, der in RSA_WITH.items()} | {
    der: ("ecdsa", name) for name, der in ECDSA_WITH.items()
}
