"""The tokens of local authorities, as one command opens them: for keys that sign and secrets that compute codes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dojang.pkcs11.uri import Pkcs11Uri

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.pkcs11.hmac_keys import HmacKey
    from dojang.pkcs11.opened import OpenToken


class AuthorityTokens:
    """Opens keys by their addresses when called, and is a ``KeyRing`` for secrets; ``open_token`` keeps tokens open."""

    def __init__(self, open_token: "Callable[[str], OpenToken]") -> None:
        self._open_token = open_token

    def token(self, address: str) -> "OpenToken":
        """The token of the key at that address; it stays open as long as this."""
        return self._open_token(address)

    def __call__(self, address: str) -> "PrivateKey":
        uri = Pkcs11Uri.from_text(address)
        return self._open_token(address).private_key(label=uri.object, key_id=uri.id)

    def open(self, address: str) -> "HmacKey":
        """The secret at that address."""
        from dojang.pkcs11.hmac_keys import HmacKey

        return HmacKey(self._open_token(address), Pkcs11Uri.from_text(address).id or b"")

    def make(self, beside: str, key_id: bytes, label: str) -> str:
        """The address of the secret ``key_id`` on the token of the key at ``beside``; made unless it is there."""
        from dojang.pkcs11.hmac_keys import generate_hmac_key, has_hmac_key

        token = self._open_token(beside)
        if not has_hmac_key(token, key_id):
            generate_hmac_key(token, label=label, key_id=key_id)
        return Pkcs11Uri.from_text(beside).for_object(id=key_id, type="secret-key").to_text()
