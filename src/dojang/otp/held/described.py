"""What the token tells of a seed: in a data object beside its key, or, on a token without those (NSS), in its label.

The data object is private, tied to the key by CKA_ID like all data that dojang keeps on tokens, and says the CKA_ID
once more in its value: not every token can be asked for it.
"""

from typing import Final

from dojang.errors import InvalidOtp
from dojang.otp.base import NewSeed, Seed
from dojang.otp.parameters import OtpParameters

APPLICATION: Final = "dojang otp"
_IN_LABEL: Final = f" ({APPLICATION}) "


def value(new: NewSeed, key_id: bytes) -> bytes:
    """What the data object holds."""
    return key_id.hex().encode() + b" " + new.parameters.to_bytes()


def label(new: NewSeed) -> str:
    """The label of a key with the same words behind its name."""
    return f"{new.name}{_IN_LABEL}{new.parameters.to_bytes().decode()}"


def in_value(kept: bytes) -> Seed | None:
    """What a data object tells, without the name, which is its key's; nothing where it tells of no key."""
    head, _blank, parameters = kept.partition(b" ")
    try:
        key_id = bytes.fromhex(head.decode("ascii"))
    except ValueError:
        return None
    return _seed("", parameters, key_id)


def in_label(text: str, key_id: bytes) -> Seed | None:
    """What the label of a key tells; nothing where it is only a name."""
    name, mark, parameters = text.partition(_IN_LABEL)
    return _seed(name, parameters.encode(), key_id) if mark else None


def _seed(name: str, parameters: bytes, key_id: bytes) -> Seed:
    try:
        return Seed("", name, OtpParameters.from_bytes(parameters), key_id)
    except InvalidOtp as error:
        return Seed("", name, OtpParameters(), key_id, problem=str(error))
