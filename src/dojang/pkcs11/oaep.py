"""RSAES-OAEP (RFC 8017, 7.1) as a mechanism."""

from ctypes import addressof, create_string_buffer

from dojang.pkcs11 import constants as ck
from dojang.pkcs11.mechanisms import oaep_numbers
from dojang.pkcs11.structures import Mechanism, OaepParams


class OaepMechanism(Mechanism):
    """CKM_RSA_PKCS_OAEP with its label kept alive beside the parameter that points to it."""

    __slots__ = ("_label",)

    def __init__(self, hash_name: str, mgf_hash: str, label: bytes) -> None:
        """``hash_name`` hashes the label, ``mgf_hash`` makes the mask (RFC 8017, A.2.1)."""
        self._label = create_string_buffer(label, len(label)) if label else None
        parameter = OaepParams(
            oaep_numbers(hash_name)[0],
            oaep_numbers(mgf_hash)[1],
            ck.CKZ_DATA_SPECIFIED,
            addressof(self._label) if self._label is not None else None,
            len(label),
        )
        super().__init__(ck.CKM_RSA_PKCS_OAEP, parameter)


def oaep_mechanism(hash_name: str, mgf_hash: str, label: bytes) -> Mechanism:
    """RSAES-OAEP as a mechanism."""
    return OaepMechanism(hash_name, mgf_hash, label)
