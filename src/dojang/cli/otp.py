"""``dojang otp``: the verbs, whoever keeps the seed: a device at an address, or an authority with ``--ca``.

What a device is asked is in ``otp_held``, what an authority is asked about its registered devices in
``otp_registered``.
"""

from importlib import import_module
from typing import Any

import click

from dojang.cli.ca_orders import officer_option
from dojang.cli.context import Invocation
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.language import N_
from dojang.errors import Usage

REGISTERED = "dojang.cli.otp_registered"

ca_option = option("--ca", metavar="NAME", help=N_("The authority's registered device of that id, not one at hand."))
code_source_option = option(
    "--code-source", metavar="SRC", help=N_("Where the code comes from; a person types it unless said.")
)
challenge_option = option(
    "--challenge",
    "challenges",
    metavar="TEXT",
    multiple=True,
    help=N_("OCRA: what the code answers; twice for a mutual answer, the other side's first."),
)
session_option = option("--session", metavar="HEX", help=N_("OCRA: session data, where the suite has it."))
ocra_pin_option = option(
    "--ocra-pin-source", metavar="SRC", help=N_("OCRA: where the PIN comes from that goes into the code.")
)


def _registered(ca: str | None, address: str | None) -> bool:
    """Whether an authority's list is meant, and no device at hand. ``Usage`` for both."""
    if ca is not None and address is not None:
        raise Usage(problem=N_("an ADDRESS is of a device at hand, --ca of an authority's list: name one of them"))
    return ca is not None


def _at_hand(officer: str | None) -> None:
    if officer is not None:
        raise Usage(problem=N_("--officer goes with --ca"))


def _device(address: str | None) -> str:
    if address is None:
        raise Usage(problem=N_("an ADDRESS is needed, or --ca with the id of a registered device"))
    return address


@command(
    help=N_(
        "Put a seed for one-time passwords into a device, from which it never comes out: made there, or given as an "
        "otpauth URI, in base32 or in a PSKC file. It proves itself before it counts. With --ca, register a device "
        "for an applicant."
    ),
    examples=[
        "dojang otp add 'pkcs11:token=Hong' --name bank --uri-source file:bank.uri",
        "dojang otp add 'pkcs11:token=Hong' --name vpn --kind hotp --digits 8",
        "dojang otp add 'pkcs11:token=Hong' --name pay --kind ocra --suite OCRA-1:HOTP-SHA256-8:QN08-T1M",
        "dojang otp add oath: --name mail --seed-source prompt",
    ],
)
@argument("address", metavar="[ADDRESS]", required=False)
@option("--name", metavar="NAME", help=N_("What it is called; otherwise the address's object, otherwise the account."))
@option("--kind", type=click.Choice(("totp", "hotp", "ocra")), help=N_("By time (as is usual), by counter, or OCRA."))
@option("--digits", type=click.IntRange(6, 8), help=N_("Digits of a code; 6 unless said."))
@option(
    "--period", type=click.Choice(("30", "60")), help=N_("Seconds that a code by time is good for; 30 unless said.")
)
@option("--hash", "hash_name", type=click.Choice(("sha1", "sha256", "sha512")), help=N_("Hash; sha1 unless said."))
@option("--suite", metavar="SUITE", help=N_("OCRA suite (RFC 6287)."))
@option("--issuer", metavar="TEXT", help=N_("Who checks the codes."))
@option("--account", metavar="TEXT", help=N_("Whose codes they are, as the issuer calls you."))
@option("--counter", metavar="N", type=click.IntRange(0), help=N_("First counter that will be used; 0 unless said."))
@option("--touch", is_flag=True, help=N_("Have the device ask for a touch before each code."))
@option("--uri-source", metavar="SRC", help=N_("Where an otpauth URI comes from."))
@option("--seed-source", metavar="SRC", help=N_("Where a seed in base32 comes from."))
@option("--pskc", metavar="FILE", type=FilePath(), help=N_("PSKC file (RFC 6030) with one seed."))
@option("--key-source", metavar="SRC", help=N_("Where the key or password of that file comes from."))
@option("--ca", metavar="NAME", help=N_("Register a device at this authority instead."))
@option("--applicant", metavar="ID", help=N_("With --ca: whose device it is."))
@option(
    "--export-qr", metavar="FILE", type=FilePath(), help=N_("With --ca: write the QR code for a phone there, once.")
)
@option("--show", is_flag=True, help=N_("With --ca: show the QR code on this terminal, once."))
@option("--exportable", is_flag=True, help=N_("With --ca: its seed may be given out with 'dojang otp export'."))
@officer_option
def add(invocation: Invocation, address: str | None, ca: str | None, officer: str | None, **given: Any) -> None:
    """Into a device, or on an authority's list."""
    if _registered(ca, address) or (address is None and given["applicant"] is not None):
        import_module(REGISTERED).add(invocation, ca=ca, officer=officer, **given)
        return
    _at_hand(officer)
    for_authority = [given.pop(name) for name in ("applicant", "export_qr", "show", "exportable")]
    if any(for_authority):
        raise Usage(problem=N_("--applicant, --export-qr, --show and --exportable go with --ca"))
    from dojang.cli import otp_held

    otp_held.add(invocation, _device(address), **given)


@command(
    help=N_(
        "List the seeds for one-time passwords in a device, or in every one that is plugged in and shows them without "
        "a PIN or password, or with the one that a source was named for; with --ca, the devices that an authority has "
        "registered."
    ),
    examples=["dojang otp list", "dojang otp list 'pkcs11:token=Hong'", "dojang otp list --ca office"],
)
@argument("address", metavar="[ADDRESS]", required=False)
@option("--ca", metavar="NAME", help=N_("List the registered devices of this authority instead."))
@option("--applicant", metavar="ID", help=N_("With --ca: only the devices of this applicant."))
@officer_option
def list_(
    invocation: Invocation, address: str | None, ca: str | None, applicant: str | None, officer: str | None
) -> None:
    """Every seed with its address; no code is computed."""
    if _registered(ca, address):
        import_module(REGISTERED).list_(invocation, ca=ca, applicant=applicant, officer=officer)
        return
    if applicant is not None:
        raise Usage(problem=N_("--applicant goes with --ca"))
    _at_hand(officer)
    from dojang.cli import otp_held

    otp_held.list_(invocation, address)


@command(
    help=N_(
        "Show the code of a seed, computed in its device. A code by counter is used up by that, whoever sees it. It is "
        "printed and kept nowhere."
    ),
    examples=[
        "dojang otp code 'pkcs11:token=Hong;object=bank'",
        "dojang otp code 'pkcs11:token=Hong;object=pay' --challenge 12345678",
        "dojang otp code oath: --quiet",
    ],
)
@argument("address", metavar="ADDRESS")
@challenge_option
@session_option
@ocra_pin_option
@option("--watch", is_flag=True, help=N_("Go on showing the present code until Ctrl-C; on a terminal."))
def code(invocation: Invocation, address: str, watch: bool, **asked: Any) -> None:
    """To standard output, and nowhere else."""
    from dojang.cli import otp_held

    otp_held.code(invocation, address, watch=watch, **asked)


@command(
    help=N_(
        "Check a code with the seed that the device keeps. Each is accepted once, and none that is older. With --ca, "
        "as the authority checks it."
    ),
    examples=[
        "dojang otp verify 'pkcs11:token=Hong;object=bank'",
        "dojang otp verify 'pkcs11:token=Hong;object=bank' --code-source env:CODE --json",
        "dojang otp verify --ca office 5f0c3a9b21 --code-source prompt",
    ],
)
@argument("address", metavar="ADDRESS")
@code_source_option
@challenge_option
@session_option
@ocra_pin_option
@ca_option
@officer_option
def verify(
    invocation: Invocation, address: str, code_source: str | None, ca: str | None, officer: str | None, **asked: Any
) -> None:
    """Exit status 13 for a code that is not accepted."""
    if ca is not None:
        import_module(REGISTERED).verify(invocation, address, ca=ca, officer=officer, code_source=code_source, **asked)
        return
    _at_hand(officer)
    from dojang.cli import otp_held

    otp_held.verify(invocation, address, code_source, **asked)


@command(
    help=N_(
        "Find the place again where device and checker have run apart: by two codes that follow each other, or by "
        "saying the counter, which goes forward only."
    ),
    examples=[
        "dojang otp resync 'pkcs11:token=Hong;object=bank'",
        "dojang otp resync 'pkcs11:token=Hong;object=vpn' --counter 120",
        "dojang otp resync --ca office 5f0c3a9b21",
    ],
)
@argument("address", metavar="ADDRESS")
@code_source_option
@option("--next-code-source", metavar="SRC", help=N_("Where the code after that one comes from."))
@option("--counter", metavar="N", type=click.IntRange(0), help=N_("Go on with this counter."))
@ca_option
@officer_option
def resync(
    invocation: Invocation,
    address: str,
    code_source: str | None,
    next_code_source: str | None,
    counter: int | None,
    ca: str | None,
    officer: str | None,
) -> None:
    """Two codes in a row prove the device; a counter proves nothing, and opens nothing that was used."""
    sources = (code_source, next_code_source)
    if ca is not None:
        import_module(REGISTERED).resync(invocation, address, ca=ca, officer=officer, sources=sources, counter=counter)
        return
    _at_hand(officer)
    from dojang.cli import otp_held

    otp_held.resync(invocation, address, sources, counter)


@command(
    help=N_(
        "Remove a seed from its device for good. The device's serial must be typed or passed. With --ca, strike a "
        "registered device off."
    ),
    examples=[
        "dojang otp delete 'pkcs11:token=Hong;object=bank' --yes 1a2b3c4d5e6f7081",
        "dojang otp delete --ca office 5f0c3a9b21 --yes 5f0c3a9b21",
    ],
)
@argument("address", metavar="ADDRESS")
@option("--yes", metavar="SERIAL", help=N_("Serial of the device, to show that this one is meant."))
@ca_option
@officer_option
def delete(invocation: Invocation, address: str, yes: str | None, ca: str | None, officer: str | None) -> None:
    """Nobody can compute its codes any more."""
    if ca is not None:
        import_module(REGISTERED).delete(invocation, address, ca=ca, officer=officer, yes=yes)
        return
    _at_hand(officer)
    from dojang.cli import otp_held

    otp_held.delete(invocation, address, yes)
