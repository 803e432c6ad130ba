"""Where a token is now: what tells it from every other one, and the slot that holds it."""

from typing import NamedTuple

from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import Cryptoki, CryptokiError
from dojang.pkcs11.module import Module
from dojang.pkcs11.structures import TokenInfoStruct, text

_EMPTY = (ck.CKR_TOKEN_NOT_PRESENT, ck.CKR_TOKEN_NOT_RECOGNIZED, ck.CKR_DEVICE_REMOVED)


class TokenIdentity(NamedTuple):
    """What stays the same while slot numbers change: label, serial, manufacturer and model of a token."""

    label: str
    serial: str
    manufacturer: str
    model: str

    @classmethod
    def from_struct(cls, info: TokenInfoStruct) -> "TokenIdentity":
        return cls(text(info.label), text(info.serial), text(info.manufacturer), text(info.model))


def find_slot(module: Module, identity: TokenIdentity, last: int) -> int | None:
    """The slot that holds the token now, or ``None``; ``last``, where it was seen last, wins among tokens alike.

    Tokens without serial can be alike in everything; none is taken for another, for it would get the other's PIN.
    """

    def search(cryptoki: Cryptoki) -> int | None:
        trouble: CryptokiError | None = None
        alike = []
        for slot_id in cryptoki.slot_list(token_present=True):
            try:
                info = cryptoki.token_info(slot_id)
            except CryptokiError as error:
                if error.rv == ck.CKR_CRYPTOKI_NOT_INITIALIZED:
                    raise
                trouble = trouble if error.rv in _EMPTY else error  # one bad slot hides no other
                continue
            if TokenIdentity.from_struct(info) == identity:
                alike.append(slot_id)
        if not alike and trouble is not None:
            raise trouble
        return last if last in alike else alike[0] if len(alike) == 1 else None

    return module.call(search)
