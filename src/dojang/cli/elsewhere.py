"""Authorities that are reached by a URL: the options that name them, and how they are opened."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.flags import keep
from dojang.cli.frame import option
from dojang.cli.language import N_, say

if TYPE_CHECKING:
    from dojang.authority.remote import RemoteAuthority
    from dojang.ledger import Ledger
    from dojang.secret import Secret


def authority_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """For a command that may speak to an authority elsewhere. Nothing is passed on; whoever opens one looks."""
    certificate = _kept(
        "--ca-certificate",
        "FILE",
        N_("A certificate by which an authority elsewhere is believed; kept for the next time. Repeatable."),
        name="ca_certificates",
    )
    reference = _kept("--reference", "R", N_("The reference number that an authority elsewhere gave out."))
    code = _kept("--code-source", "SRC", N_("Where the code that belongs to the reference number comes from."))
    wrapped: Callable[..., Any] = certificate(reference(code(function)))
    return wrapped


def _kept(flag: str, metavar: str, text: str, *, name: str | None = None) -> Callable[..., Any]:
    """An option whose value is kept with the flags; with a ``name`` of its own it may be given again."""
    names = (flag,) if name is None else (flag, name)
    return option(*names, metavar=metavar, multiple=name is not None, help=text, expose_value=False, callback=keep)


class Elsewhere:
    """The authorities elsewhere that one command speaks to: each is opened once, and speaks over one connection."""

    def __init__(self, invocation: Invocation, ledger: "Ledger", opened: contextlib.ExitStack) -> None:
        """``opened`` closes them."""
        self._invocation, self._ledger, self._opened = invocation, ledger, opened
        self._known: dict[str, RemoteAuthority] = {}
        self._turn = threading.Lock()

    def open(self, url: str) -> "contextlib.AbstractContextManager[RemoteAuthority]":
        """The authority at a URL; leaving the block leaves it open for the next question."""
        with self._turn:
            if url not in self._known:
                self._known[url] = self._opened.enter_context(authority_at(self._invocation, url, self._ledger))
            return contextlib.nullcontext(self._known[url])


def authority_at(invocation: Invocation, url: str, ledger: "Ledger") -> "RemoteAuthority":
    """The authority at a URL, believed by what was given for it now or before; a context manager."""
    from dojang.authority.remote import RemoteAuthority, Terms
    from dojang.cli.files import certificates_of
    from dojang.cmp.client import Patience
    from dojang.lifecycle.anchors import anchors_of, keep_anchors

    given = [der for path in invocation.flags.ca_certificates for der in certificates_of(path)]

    def trust(certificate_der: bytes) -> None:
        if keep_anchors(ledger, url, [certificate_der]) and certificate_der not in given:
            _tell_trusted(invocation, url, certificate_der)

    def succeeded(root_der: bytes) -> None:
        try:
            path = _write_root(invocation, root_der)
        finally:
            keep_anchors(ledger, url, [root_der])
            _tell_new_root(invocation, url, root_der)
        advice = N_("Give it to the programs that trust the old one, and to trust-anchors in the settings: {path}")
        invocation.out.note(say(advice, path=path))

    terms = Terms(
        anchors_der=tuple(dict.fromkeys((*given, *anchors_of(ledger, url)))),
        introductions=_Introductions(invocation),
        patience=lambda: Patience(tell=lambda seconds: _tell_wait(invocation, seconds)),
        trust=trust,
        changed=lambda der: _tell_changed(invocation, der),
        succeeded=succeeded,
        tls_certificates=invocation.settings.ca_tls_certificate,
    )
    return RemoteAuthority(url, terms)


class _Introductions:
    """The reference number and the code as the command line has them, or a person."""

    def __init__(self, invocation: Invocation) -> None:
        """Nothing is read and nobody is asked yet."""
        self._invocation = invocation
        self._number = invocation.flags.reference
        self._codes: dict[str, Secret] = {}

    @property
    def source(self) -> str | None:
        """Only where no secret can be part of it, and another run finds the same there."""
        source = self._invocation.flags.code_source or ""
        if source.startswith("file:"):
            return f"file:{Path(source.removeprefix('file:')).absolute()}"
        return source if source.startswith(("env:", "keyring:")) else None

    def reference(self, *, needed: bool) -> str | None:
        if self._number is None and needed:
            self._number = self._invocation.ask(N_("The reference number"), option="--reference R")
        return self._number

    def code(self, reference: str, source: str | None) -> "Secret":
        """What is said now is for the reference number that is said with it; an earlier run's may be another."""
        if reference not in self._codes:
            if self._number in (None, reference):
                source = self._invocation.flags.code_source or source
            self._codes[reference] = self._invocation.secrets.code(source, reference)
        return self._codes[reference]


def _tell_wait(invocation: Invocation, seconds: int) -> None:
    text = N_("The authority is still at it; asking again in {seconds} seconds …")
    invocation.out.note(say(text, seconds=seconds))


def _tell_trusted(invocation: Invocation, url: str, certificate_der: bytes) -> None:
    from dojang.lifecycle.origin import fingerprint_of
    from dojang.x509.name import format_name
    from dojang.x509.reading import read_certificate

    text = N_("{url} is believed from now on by this certificate, which came under the code: {subject}, SHA-256 {hash}")
    subject = format_name(read_certificate(certificate_der).subject)
    invocation.out.note(say(text, url=url, subject=subject, hash=fingerprint_of(certificate_der)))


def _write_root(invocation: Invocation, root_der: bytes) -> Path:
    """For programs that know nothing of the ledger. It stays when the power is cut: it is written this once."""
    from dojang.cli.files import pem_of
    from dojang.lifecycle.origin import fingerprint_of
    from dojang.npki.files import make_folder, write_file

    folder = invocation.settings.state_dir / "roots"
    make_folder(folder)
    path = folder / f"{fingerprint_of(root_der)}.pem"
    write_file(path, pem_of([root_der]).encode())
    return path


def _tell_new_root(invocation: Invocation, url: str, root_der: bytes) -> None:
    from dojang.lifecycle.origin import fingerprint_of
    from dojang.x509.name import format_name
    from dojang.x509.reading import read_certificate

    text = N_(
        "{url} has a new root, for which the old one vouches; it is believed from now on: {subject}, SHA-256 {hash}"
    )
    subject = format_name(read_certificate(root_der).subject)
    invocation.out.note(say(text, url=url, subject=subject, hash=fingerprint_of(root_der)))


def _tell_changed(invocation: Invocation, certificate_der: bytes) -> None:
    from dojang.x509.name import format_name
    from dojang.x509.reading import read_certificate

    text = N_("The authority granted something else than was asked for; the certificate is for {subject}.")
    invocation.out.warning(say(text, subject=format_name(read_certificate(certificate_der).subject)))
