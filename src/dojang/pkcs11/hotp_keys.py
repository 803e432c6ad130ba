"""Keys that a token has for HOTP itself (CKK_HOTP, CKM_HOTP: mechanisms of 2.40, 2.30); it shows digits only.

The counter is given with each code and never left to the token, so that it is written down here before there is one.
"""

import ctypes
import hmac
from typing import Final

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.generation import Attributes, secret_template
from dojang.pkcs11.hmac_keys import keep_secret_key, refuse_second
from dojang.pkcs11.objects import search_for
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.session import Session
from dojang.pkcs11.structures import Mechanism, OtpParam, OtpParams

SEED_BYTES: Final = 20
_MOST_PARAMS: Final = 16


def computes_hotp(token: OpenToken) -> bool:
    """Whether the token lists the mechanism, and has not taken it back."""
    return token.mechanisms.has(ck.CKM_HOTP)


def import_hotp_key(token: OpenToken, value: bytes, *, label: str, key_id: bytes, digits: int, expected: str) -> None:
    """Store a seed for HOTP with SHA-1: sensitive, not extractable; read back, and proved by its first code.

    ``expected`` is the code of counter 0. A token that computes another one, or would show the seed
    (``DeviceDisobeyed``), or refuses it (``UnsupportedMechanism``, ``DeviceRefused``), keeps none.
    """
    refuse_second(token, key_id)
    attributes = [*_template(label, key_id, digits), (ck.CKA_VALUE, value)]
    token.logged_in(lambda session: session.cryptoki.create_object(session.handle, attributes))
    _keep(token, key_id, expected)


def generate_hotp_key(token: OpenToken, *, label: str, key_id: bytes, digits: int) -> None:
    """The same with a seed that the token makes."""
    refuse_second(token, key_id)
    attributes = [*_template(label, key_id, digits), (ck.CKA_VALUE_LEN, SEED_BYTES)]
    mechanism = Mechanism(ck.CKM_HOTP_KEY_GEN)
    token.logged_in(lambda session: session.cryptoki.generate_key(session.handle, mechanism, attributes))
    _keep(token, key_id, None)


def hotp_code(token: OpenToken, counter: int, *, key_id: bytes) -> str:
    """The code of a counter (RFC 4226) under the key; it has as many digits as the key was made with."""
    search = search_for(ck.CKO_SECRET_KEY, key_id=key_id)
    given = ctypes.create_string_buffer(counter.to_bytes(8, "big"), 8)
    param = OtpParam(ck.CK_OTP_COUNTER, ctypes.addressof(given), 8)
    mechanism = Mechanism(ck.CKM_HOTP, OtpParams(ctypes.addressof(param), 1))

    def compute(session: Session) -> str:
        return _value(*session.sign_in_place(mechanism, session.resolve(search)))

    return token.logged_in(compute)


def _keep(token: OpenToken, key_id: bytes, expected: str | None) -> None:
    def prove() -> None:
        code = hotp_code(token, 0, key_id=key_id)
        if expected is not None and not hmac.compare_digest(code, expected):
            problem = errors.Phrase("its codes are not those of the seed")
            raise errors.DeviceDisobeyed(token=token.token.info.label, problem=problem)

    keep_secret_key(token, key_id, prove)


def _template(label: str, key_id: bytes, digits: int) -> Attributes:
    return [
        *secret_template(ck.CKK_HOTP, label, key_id, {ck.CKA_SIGN: True}),
        (ck.CKA_OTP_FORMAT, ck.CK_OTP_FORMAT_DECIMAL),
        (ck.CKA_OTP_LENGTH, digits),
        (ck.CKA_OTP_CHALLENGE_REQUIREMENT, ck.CK_OTP_PARAM_IGNORED),
        (ck.CKA_OTP_TIME_REQUIREMENT, ck.CK_OTP_PARAM_IGNORED),
        (ck.CKA_OTP_COUNTER_REQUIREMENT, ck.CK_OTP_PARAM_MANDATORY),
        (ck.CKA_OTP_PIN_REQUIREMENT, ck.CK_OTP_PARAM_IGNORED),
        (ck.CKA_OTP_COUNTER, bytes(8)),
    ]


def _value(answer: bytes, lay_at: int) -> str:
    """CK_OTP_VALUE of a CK_OTP_SIGNATURE_INFO that points into itself; what points elsewhere is not followed."""

    def within(address: int | None, size: int) -> bytes:
        start = (address or 0) - lay_at
        if not 0 <= start <= start + size <= len(answer):
            raise CryptokiError("C_Sign", ck.CKR_FUNCTION_FAILED)
        return answer[start : start + size]

    info = OtpParams.from_buffer_copy(within(lay_at, ctypes.sizeof(OtpParams)))
    size = ctypes.sizeof(OtpParam)
    listed = within(info.params, min(info.count, _MOST_PARAMS) * size)
    for start in range(0, len(listed), size):
        param = OtpParam.from_buffer_copy(listed[start : start + size])
        if param.type == ck.CK_OTP_VALUE:
            digits = within(param.value, param.value_len).decode("ascii", "replace")
            if digits.isascii() and digits.isdigit():
                return digits
    raise CryptokiError("C_Sign", ck.CKR_FUNCTION_FAILED)
