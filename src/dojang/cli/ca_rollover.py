"""``dojang ca rollover`` and ``dojang ca cross-sign``: the next key of an authority, and other authorities' by ours."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dojang.cli.ca import ca_option
from dojang.cli.ca_signer import (
    algorithm_option,
    give_key,
    key_option,
    key_plan,
    name_option,
    signer_data,
    signer_lines,
)
from dojang.cli.context import Invocation
from dojang.cli.credentials import certificate_data
from dojang.cli.files import certificates_of, pem_of, write_file
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import chosen_authority, open_authority_named

if TYPE_CHECKING:
    from dojang.authority.hierarchy.signers import Key

root_option = option("--root", is_flag=True, help=N_("The root's key instead of the key that issues."))


@command(
    help=N_(
        "Make the next key of what issues, have it certified by the root and publish it; it signs nothing before the "
        "switch. With --root the next root, tied to the old one by a certificate each way."
    ),
    examples=[
        "dojang ca rollover prepare --key 'pkcs11:token=Issuing2'",
        "dojang ca rollover prepare --root --key 'pkcs11:token=Root2' --algorithm ec-p384 --ca office",
    ],
)
@key_option
@name_option
@algorithm_option
@root_option
@ca_option
def prepare(invocation: Invocation, key: str, name: str | None, algorithm: str, root: bool, ca: str | None) -> None:
    """The same key again changes nothing."""
    from dojang.authority.hierarchy import rollover

    role, authority = _role(root), chosen_authority(invocation, ca)
    steps = [key_plan(key, algorithm), _("Have the root certify it"), _("Publish its first revocation list")]
    if root:
        steps[1] = _("Sign its own certificate, and one by each root for the other")
    if invocation.planned(steps, authority=authority, role=role):
        return
    made = give_key(invocation, authority, role, (key, algorithm), rollover.prepare, name)
    again = " --root" if root else ""
    text = [*signer_lines(made), "", _("Try next:"), f"  dojang ca rollover switch{again} --ca {authority}"]
    invocation.result({"signer": signer_data(made)}, "\n".join(text), quiet=[made.id])


@command(
    help=N_(
        "Have the prepared key sign from now on. The old one goes on with its revocation list, and with the answers "
        "about what it signed."
    ),
    examples=["dojang ca rollover switch", "dojang ca rollover switch --root --ca office"],
)
@root_option
@ca_option
def switch(invocation: Invocation, root: bool, ca: str | None) -> None:
    """Servers that run notice it with the next certificate."""
    from dojang.authority.hierarchy import rollover

    role, name = _role(root), chosen_authority(invocation, ca)
    steps = [_("Have the prepared key sign a challenge and a revocation list"), _("Have it sign from now on")]
    if invocation.planned(steps, authority=name, role=role):
        return
    with open_authority_named(invocation, name) as authority:
        made = rollover.switch(authority.scene(), role)
        chain = pem_of(authority.roster.look().chain_der)
    invocation.result({"signer": signer_data(made), "chain": chain}, "\n".join(signer_lines(made)), quiet=[made.id])


@command(
    help=N_("Retire the old key, once the last certificate that it signed has expired."),
    examples=["dojang ca rollover retire", "dojang ca rollover retire --root --ca office"],
)
@root_option
@ca_option
def retire(invocation: Invocation, root: bool, ca: str | None) -> None:
    """The key itself stays on its token; 'dojang key delete' destroys it."""
    from dojang.authority.hierarchy import rollover

    role, name = _role(root), chosen_authority(invocation, ca)
    steps = [_("Sign the last revocation list of the old key"), _("Never use the old key again")]
    if invocation.planned(steps, authority=name, role=role):
        return
    with open_authority_named(invocation, name) as authority:
        done: list[Key] = rollover.retire(authority.scene(), role)
    text = [
        line
        for one in done
        for line in (say("{id} is retired.", id=one.id), f"  dojang key delete '{one.key_address}'")
    ]
    data = {"signers": [signer_data(one) for one in done]}
    invocation.result(data, "\n".join(text), quiet=[one.id for one in done])


@command(
    help=N_(
        "Certify another authority's key by our root, so that whoever trusts us can trust what it issued. FILE is its "
        "certificate."
    ),
    examples=[
        "dojang ca cross-sign other-root.pem -o crossing.pem",
        "dojang ca cross-sign other.der --until 2027-12-31",
    ],
)
@argument("file", metavar="FILE", type=click.Path(path_type=Path))
@option("--until", metavar="DATE", type=click.DateTime(["%Y-%m-%d"]), help=N_("Last day; as long as FILE unless said."))
@option("-o", "--output", metavar="OUT", type=click.Path(path_type=Path), help=N_("File for the certificate, in PEM."))
@ca_option
def cross_sign(invocation: Invocation, file: Path, until: datetime | None, output: Path | None, ca: str | None) -> None:
    """On record like every certificate of the root, and revoked like one."""
    from dojang.authority.hierarchy import rollover
    from dojang.x509.name import format_name
    from dojang.x509.reading import read_certificate
    from dojang.x509.status import credential_facts

    name, subject = chosen_authority(invocation, ca), read_certificate(certificates_of(file)[0], file)
    steps = [say("Certify the key of {subject} by the root of {name}", subject=format_name(subject.subject), name=name)]
    if invocation.planned(steps, authority=name):
        return
    last = None if until is None else until.replace(hour=23, minute=59, second=59, tzinfo=UTC)
    with open_authority_named(invocation, name) as authority:
        crossing_der = rollover.cross_certify(authority.scene(), subject, last)
    pem = pem_of([crossing_der])
    if output is not None:
        write_file(output, pem.encode())
    facts = certificate_data(credential_facts(crossing_der, datetime.now(UTC)))
    text = [
        say("{subject} is certified by {issuer}.", subject=facts["subject"], issuer=facts["issuer"]),
        say("Valid: {not_before} to {not_after}", not_before=facts["not_before"], not_after=facts["not_after"]),
    ]
    invocation.result({"certificate": facts, "pem": pem, "output": output}, "\n".join(text), quiet=[facts["serial"]])


def _role(root: bool) -> str:
    return "root" if root else "issuing"
