"""An officer's side: orders to a centre elsewhere, each signed by his key where it lies."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dojang.centre.answers import error_from
from dojang.centre.orders import MEDIA_TYPE, sign_order
from dojang.cmp.transport import HttpTransport
from dojang.cmp.urls import Target
from dojang.errors import AuthorityRefused, AuthorityUntrusted, NotPermitted, Phrase, Usage

if TYPE_CHECKING:
    from dojang.signing.digest import DigestSigner

Answer = dict[str, Any]


def utc_now() -> datetime:
    return datetime.now(UTC)


class RemoteOffice:
    """The office of an authority behind a centre; a context manager. What it is told to do is in ``methods``."""

    def __init__(
        self,
        url: str,
        signer: "DigestSigner",
        certificate_der: bytes,
        *,
        anchors_der: Sequence[bytes] = (),
        tls_certificates: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """``url`` is ``https://host/NAME``, or the authority's URL for CMP. Raises ``Usage`` and ``NotPermitted``.

        ``anchors_der`` are what the authority there is known by; without any, the one that TLS leads to is meant.
        """
        target = Target.from_url(url)
        if target.scheme != "https" and not _is_here(target.host):
            raise NotPermitted(
                problem=Phrase("orders and codes do not go over a connection that others can read"),
                remedy=Phrase("Write the centre's URL with https://."),
            )
        self.authority = target.path.partition("?")[0].rstrip("/").rpartition("/")[2]
        if self.authority in ("", "cmp"):
            raise Usage(problem=Phrase("the URL does not say which authority; write it as https://host/NAME"))
        self.centre = target.name
        self._signer, self._certificate_der, self._clock = signer, certificate_der, clock
        self._anchors_der = tuple(anchors_der)
        self._transport = HttpTransport(
            f"{target.scheme}://{target.name}/admin/{self.authority}",
            tls_certificates=tls_certificates,
            media_type=MEDIA_TYPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()

    def perform(self, method: str, arguments: Mapping[str, Any]) -> Answer:
        """Have it done and return what came of it; the centre's errors are raised as they were raised there.

        Also ``AuthorityUnreachable`` and ``AuthorityUntrusted``. Where no answer came back it may have been done.
        """
        at, (own_der, *_above) = self._clock(), self._chain_der
        return self._ask(
            sign_order(self.authority, own_der, method, arguments, self._signer, self._certificate_der, at=at)
        )

    @cached_property
    def _chain_der(self) -> tuple[bytes, ...]:
        """The authority's certificate, which orders name, and those above it. Raises ``AuthorityUntrusted``."""
        from dojang.x509.path import check_path

        try:
            chain = tuple(map(bytes.fromhex, self._ask(b"")["chain"]))
            own_der = chain[0]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise self._unreadable() from error
        if self._anchors_der:
            report = check_path(own_der, intermediates_der=chain[1:], anchors_der=self._anchors_der, at=self._clock())
            if not report.ok:
                raise AuthorityUntrusted(authority=self.centre, problem=Phrase("{problems}", problems=report.problems))
        return chain

    def _ask(self, message: bytes) -> Answer:
        import json

        content = self._transport.post(message)
        try:
            answer = json.loads(content)
            if answer["ok"] is True:
                return dict(answer["data"])
            report = answer["error"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._unreadable() from error
        raise error_from(report, self.centre)

    def _unreadable(self) -> AuthorityRefused:
        return AuthorityRefused(authority=self.centre, problem=Phrase("its answer cannot be read"))


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
