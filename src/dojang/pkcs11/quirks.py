"""What modules do differently and cannot be asked about: one row each, with its source."""

import os
from typing import TYPE_CHECKING, NamedTuple

from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError

if TYPE_CHECKING:
    from dojang.pkcs11.module import Module


class Quirk(NamedTuple):
    """Applies where the module says that ``library`` made it (CK_INFO); by the beginning of that name.

    ``max_sessions`` is how many sessions to keep. ``unsaid`` are attributes of a public key that are left out where a
    pair is generated. ``rsa_decrypts``: an RSA key that is to sign has to be allowed to decrypt. ``cannot`` are schemes
    and hashes that are not tried, ``useless`` kinds of key that it makes and cannot use. ``unblocks`` is the program
    that sets a forgotten or locked PIN where a token has no security officer, ``generates`` the one that makes keys.
    ``only_reads`` is the manufacturer of tokens that the library only reads: keys and certificates are put there by
    other programs.
    ``point_beside`` is the attribute in which an EC key that comes wrapped brings its public point.
    """

    library: str
    reason: str
    max_sessions: int | None = None
    unsaid: frozenset[int] = frozenset()
    rsa_decrypts: bool = False
    cannot: frozenset[tuple[str, str]] = frozenset()
    useless: frozenset[str] = frozenset()
    unblocks: str = ""
    generates: str = ""
    only_reads: str = ""
    point_beside: int | None = None


QUIRKS = (
    Quirk(
        "OpenSC",
        "A card does one thing at a time and each extra session probes it (0.2 s, seen with 0.23). C_Login as security "
        "officer is CKR_GENERAL_ERROR on cards that have none; a PUK is for its own program, pkcs15-tool(1). It makes "
        "no keys on PIV cards (CKR_FUNCTION_NOT_SUPPORTED); piv-tool(1) does.",
        max_sessions=1,
        unblocks="pkcs15-tool --unblock-pin --auth-id 01",
        generates="PIV_EXT_AUTH_KEY=FILE piv-tool --admin M:9B:03 --genkey 9A:07",
        only_reads="piv_II",
    ),
    Quirk("Yubico", "A card does one thing at a time; see the row above.", 1),
    Quirk("IBM", "opencryptoki serialises in its daemon; more sessions only cost (seen with 3.8.1).", 8),
    Quirk(
        "tpm2-software",
        "tpm2-pkcs11 takes the public key's uses for the private key's: asked to verify and not to decrypt, it makes a "
        "key and then says CKR_GENERAL_ERROR. It signs a digest by CKM_RSA_PKCS with the TPM's RSA_Decrypt, which a "
        "key that only signs refuses in C_Sign. It knows no SHA-224, and a key with which C_SignInit has failed can no "
        "longer be destroyed by that process. It cannot read the point of the P-521 keys it makes (seen with 1.9.0, "
        "which logs 'attr mismatch: 0x10a' and 'asn1 encoding routines::too long').",
        unsaid=frozenset({ck.CKA_VERIFY, ck.CKA_ENCRYPT}),
        rsa_decrypts=True,
        cannot=frozenset({("ecdsa", "sha224"), ("pss", "sha224")}),
        useless=frozenset({"ec-p521"}),
    ),
    Quirk(
        "Mozilla",
        "NSS unwraps an EC key only where the template has CKA_NSS_DB (seen with 3.87, which says "
        "CKR_TEMPLATE_INCOMPLETE otherwise).",
        point_beside=ck.CKA_NSS_DB,
    ),
)

DEFAULT_MAX_SESSIONS = 16

ONE_CALL_AT_A_TIME = ("p11-kit-client",)
"""Modules, by the beginning of their file's name, that are not called by two threads at once. p11-kit's client has one
connection for all; when its server dies, the threads that wait for each other's answers never return (seen, 0.24.1)."""

TAKE_NO_LOCKS = ("opensc-pkcs11", "onepin-opensc-pkcs11")
"""Modules, by the beginning of their file's name, that are told at C_Initialize that they need no locks, and so are not
called by two threads at once. When a card was reset or pulled out, OpenSC's sc_unlock returns with the card's mutex
still locked, and the next call waits for it for ever (seen, 0.23)."""

HIDES_WHAT_IS_WRITTEN = ("libsofthsm2",)
"""Modules, by the beginning of their file's name, that leave out for good a token which another process was writing as
they started. SoftHSM writes at every login: up to half of 48 simultaneous starts missed their token (seen, 2.6.1)."""

NO_QUIRK = Quirk("", "It does what the standard says.")


def quirk_of(module: "Module") -> Quirk:
    """The row for a module, or one that changes nothing."""
    try:
        library = module.info().manufacturer
    except CryptokiError:  # whoever asks learns of it at the next call
        return NO_QUIRK
    return next((quirk for quirk in QUIRKS if library.startswith(quirk.library)), NO_QUIRK)


LIVES_ON_DISK = ("libsofthsm2",)
"""Modules, by the beginning of their file's name, that say of a full disk only that something failed (seen, 2.6.1)."""

LOSES_WHAT_WAS_AWAY = ("libsofthsm2", "p11-kit-client")
"""Modules, by the beginning of their file's name, that show a token without objects for good once its files were away.
SoftHSM gives up a folder that it could not read (seen, 2.6.1); p11-kit's client may have it at its other end."""


def max_sessions(quirk: Quirk, stated: int | None) -> int:
    """How many sessions to keep on a token: the quirk's number or the default, within what the token itself states."""
    limit = quirk.max_sessions if quirk.max_sessions is not None else DEFAULT_MAX_SESSIONS
    return min(limit, stated) if stated else limit


SPEAK_UNASKED = {"libtpm2_pkcs11": ("TSS2_LOG", "all+NONE")}
"""Modules, by the beginning of their file's name, whose libraries write to standard error what their return values say,
and the variable that quiets them; somebody who has set it wants to read (seen with tpm2-tss 3.2: thirteen lines an
attempt where no TPM is there)."""


def quiet(path: str) -> None:
    """Before a module is loaded: let it keep to its return values."""
    name = path.rpartition("/")[2]
    for beginning, (variable, value) in SPEAK_UNASKED.items():
        if name.startswith(beginning):
            os.environ.setdefault(variable, value)
