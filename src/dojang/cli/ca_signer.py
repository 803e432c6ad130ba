"""``dojang ca signer``: the keys of an authority, old and new; adding those that answer OCSP, stamp time, speak CMP."""

from typing import TYPE_CHECKING, Any

import click

from dojang.cli.ca import ca_option
from dojang.cli.ca_keys import KeyPlace, key_at
from dojang.cli.context import Invocation
from dojang.cli.credentials import certificate_data
from dojang.cli.files import pem_of
from dojang.cli.frame import command, option
from dojang.cli.issue_form import subject_name
from dojang.cli.key import ALGORITHMS
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import chosen_authority, open_authority_named, workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from cryptography.x509 import Name

    from dojang.authority.hierarchy.scene import Scene
    from dojang.authority.hierarchy.signers import Key
    from dojang.authority.local import LocalAuthority

    Step = Callable[[Scene, str, Any, str, Name | None], Key]

STATES = {
    "next": N_("waits to take over"),
    "current": N_("in use"),
    "retiring": N_("on its way out"),
    "retired": N_("retired"),
}
DELEGATES = ("ocsp", "tsa", "cmp", "audit")
key_option = option(
    "--key", metavar="ADDRESS", required=True, help=N_("Token or key; a key that is not there is made.")
)
name_option = option("--name", metavar="DN", help=N_("Name in its certificate, unless it is the usual one."))
algorithm_option = option(
    "--algorithm", type=click.Choice(ALGORITHMS), default="ec-p256", show_default=True, help=N_("Kind of a new key.")
)


@command(
    help=N_("List the keys of an authority: their generations, what each does now, and where it is. No PIN is asked."),
    examples=["dojang ca signer list", "dojang ca signer list --ca office --json"],
)
@ca_option
def list_(invocation: Invocation, ca: str | None) -> None:
    """The oldest of each role first."""
    from dojang.authority.hierarchy.signers import keys

    name = chosen_authority(invocation, ca)
    with open_authority_named(invocation, name) as authority, authority.database.reading() as connection:
        found = keys(connection)
    columns = [N_("Key"), N_("State"), N_("Subject"), N_("Until"), N_("Where")]
    data = [signer_data(one) for one in found]
    rows = [
        [
            one.id,
            _(STATES[one.state]),
            known["certificate"]["subject"],
            f"{known['certificate']['not_after']:%Y-%m-%d}",
            one.key_address,
        ]
        for one, known in zip(found, data, strict=True)
    ]
    invocation.result({"signers": data}, lambda: invocation.out.table(columns, rows), quiet=[one.id for one in found])


def signer_data(one: "Key") -> dict[str, Any]:
    """A key of an authority, as every command prints it with ``--json``."""
    from datetime import UTC, datetime

    from dojang.x509.status import credential_facts

    return {
        "id": one.id,
        "role": one.role,
        "generation": one.generation,
        "state": one.state,
        "address": one.key_address,
        "certificate": certificate_data(credential_facts(one.certificate_der, datetime.now(UTC))),
        "pem": pem_of([one.certificate_der]),
    }


@command(
    help=N_(
        "Certify a key that works for the authority: that answers OCSP, stamps time, speaks CMP or signs the audit "
        "record. It takes over from the one before."
    ),
    examples=[
        "dojang ca signer add --role ocsp --key 'pkcs11:token=Responder'",
        "dojang ca signer add --role tsa --key 'pkcs11:token=TSA;object=stamps' --algorithm rsa-3072 --ca office",
    ],
)
@option("--role", type=click.Choice(DELEGATES), required=True, help=N_("What the key is for."))
@key_option
@name_option
@algorithm_option
@ca_option
def add(invocation: Invocation, role: str, key: str, name: str | None, algorithm: str, ca: str | None) -> None:
    """The same key again changes nothing."""
    from dojang.authority.hierarchy.delegates import add_delegate

    authority = chosen_authority(invocation, ca)
    plan = [
        key_plan(key, algorithm),
        say("Certify it for '{role}' by the issuing key of {name}", role=role, name=authority),
    ]
    if invocation.planned(plan, authority=authority, role=role):
        return
    made = give_key(invocation, authority, role, (key, algorithm), add_delegate, name)
    invocation.result({"signer": signer_data(made)}, "\n".join(signer_lines(made)), quiet=[made.id])


@command(
    help=N_("Renew the certificates of the keys that answer OCSP, stamp time and speak CMP, as far as they are due."),
    examples=["dojang ca signer renew", "dojang ca signer renew --all --ca office"],
)
@option("--all", "everything", is_flag=True, help=N_("Those too that are not due yet."))
@ca_option
def renew(invocation: Invocation, everything: bool, ca: str | None) -> int | None:
    """For the same keys; 14 where nothing is due."""
    from dojang.authority.hierarchy.delegates import renew_delegates

    name = chosen_authority(invocation, ca)
    if invocation.planned([say("Renew what is due of {name}'s own certificates", name=name)], authority=name):
        return None
    with open_authority_named(invocation, name) as authority:
        renewed = renew_delegates(authority.scene(), all_of_them=everything)
    text = [line for one in renewed for line in signer_lines(one)] or [_("Nothing is due.")]
    data = {"signers": [signer_data(one) for one in renewed]}
    invocation.result(data, "\n".join(text), quiet=[one.id for one in renewed])
    return None if renewed else 14


def key_plan(key: str, algorithm: str) -> str:
    return say("Use the key at {address}, or make one there ({algorithm})", address=key, algorithm=algorithm)


def give_key(
    invocation: Invocation,
    name: str,
    role: str,
    key: tuple[str, str],
    step: "Step",
    subject: str | None,
) -> "Key":
    """Do ``step`` with the key at an address, or with one of an algorithm that is made there for it.

    What a killed run left of the same goes first; a key that was made for nothing is removed.
    """
    from dojang.lifecycle.recover import recover
    from dojang.lifecycle.signers import giving, subject_of

    wanted = None if subject is None else subject_name(invocation, subject)
    store = invocation.settings.authorities_dir / name
    with workplace(invocation) as place, open_authority_named(invocation, name) as authority:
        recover(place, subject_key=subject_of(store, role))

        def journal(at: KeyPlace) -> "AbstractContextManager[None]":
            return giving(
                place,
                at.token,
                store,
                role,
                address=at.address,
                location=at.location,
                key_id=at.key_id,
                made=at.made,
                is_kept=lambda address: _is_kept(authority, address),
            )

        address, algorithm = key
        with key_at(invocation, address, f"{name}-{role}", algorithm, journal) as (private, found_at):
            return step(authority.scene({found_at: private}), role, private, found_at, wanted)


def _is_kept(authority: "LocalAuthority", address: str) -> bool:
    from dojang.authority.hierarchy.signers import is_known

    with authority.database.reading() as connection:
        return is_known(connection, address)


def signer_lines(one: "Key") -> "Sequence[str]":
    """A key for people."""
    certificate = signer_data(one)["certificate"]
    return [
        say("{id} ({state}): {subject}", id=one.id, state=_(STATES[one.state]), subject=certificate["subject"]),
        say("Valid: {not_before} to {not_after}", **{key: certificate[key] for key in ("not_before", "not_after")}),
        say("Key: {address}", address=one.key_address),
    ]
