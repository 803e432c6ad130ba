"""Everything an authority has to tell its certificates' states with, made once and used by all threads."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.authority.status.lists import Lists
from dojang.authority.status.published import Published
from dojang.authority.status.responder import Responder
from dojang.authority.status.settings import StatusSettings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.authority.database import Database


@dataclass(frozen=True, slots=True)
class StatusOffice:
    """``responder`` answers, ``lists`` are published, ``published`` shows them."""

    responder: Responder
    lists: Lists
    published: Published

    @classmethod
    def at(
        cls,
        database: "Database",
        key: "Callable[[str], PrivateKey]",
        file_of: Callable[[str], Path],
        clock: Callable[[], datetime],
        settings: StatusSettings,
    ) -> "StatusOffice":
        """``key`` gives the private key of a signer, ``file_of`` the file that its complete list has."""
        responder = Responder(database, key, clock, settings)
        return cls(responder, Lists(database, key, file_of, settings), Published(database))
