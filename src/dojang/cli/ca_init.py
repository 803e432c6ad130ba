"""``dojang ca init``: found a local authority whose key is on a token."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from dojang.cli.ca import info_data, info_lines
from dojang.cli.context import Invocation
from dojang.cli.files import pem_of
from dojang.cli.frame import command, option
from dojang.cli.issue_form import common_name, subject_name
from dojang.cli.key import ALGORITHMS
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import authority_names, workplace
from dojang.errors import AlreadyExists, Ambiguous, Phrase, Usage

if TYPE_CHECKING:
    from cryptography.x509 import Name

    from dojang.authority.founding import Founder
    from dojang.lifecycle.workplace import Workplace
    from dojang.pkcs11.opened import OpenToken
    from dojang.pkcs11.uri import Pkcs11Uri

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
def init(
    invocation: Invocation,
    key: str,
    name: str | None,
    issuing_key: str | None,
    issuing_name: str | None,
    algorithm: str,
    alias: str | None,
) -> None:
    """All of the authority is there afterwards, or nothing is; a key that was made for nothing is removed."""
    from dojang.authority.founding import create_authority

    if (issuing_key is None) != (issuing_name is None):
        raise Usage(problem=N_("--issuing-key and --issuing-name go together"))
    subject = subject_name(invocation, name)
    below = None if issuing_name is None else subject_name(invocation, issuing_name)
    alias = alias or _alias_for(below or subject)
    if alias in authority_names(invocation):
        raise AlreadyExists(what=Phrase("authority {name}", name=alias), where=invocation.settings.authorities_dir)
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
        )
    with authority:  # its key is kept from here on, whatever fails
        info = authority.info()
        chain = pem_of(authority.chain_der())
    data = info_data(info, chain)
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
    from secrets import token_bytes

    from dojang.authority.founding import Founder
    from dojang.lifecycle.founding import founding
    from dojang.pkcs11 import open_token
    from dojang.pkcs11.uri import Pkcs11Uri

    uri = Pkcs11Uri.from_text(invocation.address(address))
    opened = open_token(
        replace(uri.token_part(), pin_source=None, pin_value=None),
        invocation.ca_pin_provider(uri),
        search=invocation.search(),
        guard=invocation.pin_guard(),
        last_try=invocation.last_try,
    )
    alias, role = half
    with opened as token:
        label = uri.object or (alias if role == ROLES[0] else f"{alias}-{role}")
        there = _key_there(token, uri, label)
        key_id = there or uri.id or token_bytes(8)
        found_at, store = _lasting_address(token, uri, key_id), invocation.settings.authorities_dir / alias
        with founding(place, token, store, role, location=_token_of(found_at), key_id=key_id, made=there is None):
            if there is None:
                invocation.out.note(_("Making the key …"))
                token.generate_key_pair(algorithm, label=label, key_id=key_id)
            yield Founder(subject, token.private_key(key_id=key_id), found_at)


def _key_there(token: "OpenToken", uri: "Pkcs11Uri", label: str) -> bytes | None:
    """The id of the key that the address names, if it is there; ``Ambiguous`` where several are."""
    found = list(token.keys(label=None if uri.id else label, key_id=uri.id))
    if len(found) > 1:
        raise Ambiguous(what=Phrase("key {label}", label=label), matches=[token.object_address(one) for one in found])
    return found[0].key_id if found else None


def _token_of(address: str) -> str:
    from dojang.pkcs11.uri import Pkcs11Uri

    return Pkcs11Uri.from_text(address).token_part().to_text()


def _lasting_address(token: "OpenToken", uri: "Pkcs11Uri", key_id: bytes) -> str:
    """Where the key is found again: by its token and its id, through the same module and PIN source; never a PIN."""
    from dojang.pkcs11.uri import Pkcs11Uri

    found = Pkcs11Uri.from_text(token.address)
    same = replace(found, module_name=uri.module_name, module_path=uri.module_path, pin_source=uri.pin_source)
    return same.for_object(id=key_id, type="private").to_text()
