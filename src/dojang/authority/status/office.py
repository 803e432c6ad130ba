"""Everything an authority has to tell its certificates' states with: made when first used, shared by all threads."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.authority.database import Database
    from dojang.authority.status.lists import Lists
    from dojang.authority.status.published import Published
    from dojang.authority.status.responder import Responder
    from dojang.authority.status.settings import StatusSettings


@dataclass(frozen=True)
class StatusOffice:
    """``key`` gives the private key of a signer, ``file_of`` the file that its complete list has."""

    database: "Database"
    key: "Callable[[str], PrivateKey]"
    file_of: Callable[[str], Path]
    clock: Callable[[], datetime]
    settings: "StatusSettings"

    @cached_property
    def responder(self) -> "Responder":
        """Answers OCSP requests, and signs answers beforehand."""
        from dojang.authority.status.responder import Responder

        return Responder(self.database, self.key, self.clock, self.settings)

    @cached_property
    def lists(self) -> "Lists":
        """Publishes revocation lists."""
        from dojang.authority.status.lists import Lists

        return Lists(self.database, self.key, self.file_of, self.settings)

    @cached_property
    def published(self) -> "Published":
        """Shows lists and the authority's own certificates."""
        from dojang.authority.status.published import Published

        return Published(self.database, self.file_of)
