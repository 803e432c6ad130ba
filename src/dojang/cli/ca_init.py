"""``dojang ca init``: found a local authority whose key is on a token."""

import contextlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

from dojang.cli.ca import info_data, info_lines, settings_data
from dojang.cli.ca_keys import KeyPlace, key_at
from dojang.cli.context import Invocation
from dojang.cli.files import pem_of
from dojang.cli.frame import command, option
from dojang.cli.issue_form import common_name, subject_name
from dojang.cli.key import ALGORITHMS
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import authority_names, workplace
from dojang.errors import AlreadyExists, Phrase, Usage

if TYPE_CHECKING:
    from cryptography.x509 import Name

    from dojang.authority.founding import Founder
    from dojang.lifecycle.workplace import Workplace

ROLES = ("root", "issuing")


@command(
    help=N_(
        "Set up a local certificate authority whose key is on a token: a root that issues, or with --issuing-key a "
        "root with an issuing authority below it. A key that is not there yet is made."
    ),
    examples=[
        "dojang ca init --key 'pkcs11:token=Authority' --name 'CN=Office CA,O=Example,C=KR'",
        "dojang ca init --alias office --key 'pkcs11:token=Root' --name 'CN=Office Root,C=KR' "
        "--issuing-key 'pkcs11:token=Issuing' --issuing-name 'CN=Office CA,C=KR'",
        "dojang ca init --key 'pkcs11:token=Authority' --name 'CN=Office CA,C=KR' "
        "--database postgresql://ca@db.example.kr/office",
    ],
)
@option("--key", metavar="ADDRESS", required=True, help=N_("Token or key of the (root) authority."))
@option("--name", metavar="DN", help=N_("Name of the (root) authority."))
@option("--issuing-key", metavar="ADDRESS", help=N_("Token or key of the issuing authority."))
@option("--issuing-name", metavar="DN", help=N_("Name of the issuing authority."))
@option(
    "--algorithm", type=click.Choice(ALGORITHMS), default="ec-p256", show_default=True, help=N_("Kind of a new key.")
)
@option("--alias", metavar="NAME", help=N_("What to call it in commands; made of its common name unless said."))
@option(
    "--database",
    metavar="URL",
    help=N_("PostgreSQL database for its records, empty until now; a file in its folder unless said."),
)
@option(
    "--address",
    metavar="URL",
    help=N_(
        "Where others will find its lists and certificates, http://HOST, or http://HOST/NAME in a centre that serves "
        "several authorities; written into what it certifies."
    ),
)
def init(
    invocation: Invocation,
    key: str,
    name: str | None,
    issuing_key: str | None,
    issuing_name: str | None,
    algorithm: str,
    alias: str | None,
    database: str | None,
    address: str | None,
) -> None:
    """All of the authority is there afterwards, or nothing is; a key that was made for nothing is removed."""
    from dojang.authority.engines import check_url
    from dojang.authority.founding import create_authority

    if (issuing_key is None) != (issuing_name is None):
        raise Usage(problem=N_("--issuing-key and --issuing-name go together"))
    subject = subject_name(invocation, name)
    below = None if issuing_name is None else subject_name(invocation, issuing_name)
    alias = alias or _alias_for(below or subject)
    if alias in authority_names(invocation):
        raise AlreadyExists(what=Phrase("authority {name}", name=alias), where=invocation.settings.authorities_dir)
    if database is not None:
        check_url(database)
    if invocation.planned(_plan(key, issuing_key, algorithm), authority=alias):
        return
    with workplace(invocation) as place, contextlib.ExitStack() as opened:
        _settle_earlier(invocation, place, alias)
        root = opened.enter_context(_founder(invocation, place, key, subject, (alias, "root"), algorithm))
        issuing = None
        if issuing_key is not None and below is not None:
            half = _founder(invocation, place, issuing_key, below, (alias, "issuing"), algorithm)
            issuing = opened.enter_context(half)
        authority = create_authority(
            invocation.settings.authorities_dir,
            name=alias,
            subject=root.subject,
            key=root.key,
            key_address=root.key_address,
            issuing=issuing,
            database=database,
            address=address,
        )
    with authority:  # its key is kept from here on, whatever fails
        info = authority.info()
        chain = pem_of(authority.chain_der())
        data = info_data(info, chain) | {"settings": settings_data(authority)}
    text = [_("The authority is set up."), *info_lines(data), "", _("Try next:")]
    text += ["  dojang ca profiles", f"  dojang cert issue --ca {alias}"]
    invocation.result({"authority": data}, "\n".join(text), quiet=[alias])


def _plan(key: str, issuing_key: str | None, algorithm: str) -> list[str]:
    steps = []
    for address in filter(None, (key, issuing_key)):
        steps.append(
            say("Use the key at {address}, or make one there ({algorithm})", address=address, algorithm=algorithm)
        )
    return [*steps, _("Sign the authority's certificate and its first revocation list")]


def _alias_for(subject: "Name") -> str:
    return re.sub(r"[^\w.-]+", "-", common_name(subject).lower()).strip("-.") or "ca"


def _settle_earlier(invocation: Invocation, place: "Workplace", alias: str) -> None:
    """What a killed run left of this very authority goes first."""
    from dojang.lifecycle.founding import subject_of
    from dojang.lifecycle.recover import recover

    for role in ROLES:
        recover(place, subject_key=subject_of(invocation.settings.authorities_dir / alias, role))


@contextlib.contextmanager
def _founder(
    invocation: Invocation,
    place: "Workplace",
    address: str,
    subject: "Name",
    half: tuple[str, str],
    algorithm: str,
) -> "Iterator[Founder]":
    """The key at ``address``; one that had to be made is removed again when the block fails.

    ``half`` is the authority's name and which of its keys this is: ``root`` or ``issuing``.
    """
    from dojang.authority.founding import Founder
    from dojang.lifecycle.founding import founding

    alias, role = half
    store = invocation.settings.authorities_dir / alias

    def journal(at: KeyPlace) -> "AbstractContextManager[None]":
        return founding(place, at.token, store, role, location=at.location, key_id=at.key_id, made=at.made)

    label = alias if role == ROLES[0] else f"{alias}-{role}"
    with key_at(invocation, address, label, algorithm, journal) as (key, found_at):
        yield Founder(subject, key, found_at)
