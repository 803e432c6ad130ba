"""What the commands of ``cert``, ``renew`` and ``ca`` work with: ledger, locations and authorities, opened as asked."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING

from dojang.cli.context import Invocation
from dojang.cli.elsewhere import Elsewhere
from dojang.cli.language import N_, _, message_of, say
from dojang.cmp.urls import is_url
from dojang.errors import NotFound, Phrase, UnsupportedOperation

if TYPE_CHECKING:
    from dojang.authority.base import CertificateAuthority, FactorSitting
    from dojang.authority.local import LocalAuthority
    from dojang.cli.authority_tokens import AuthorityTokens
    from dojang.lifecycle.hooks import Hooks
    from dojang.lifecycle.workplace import Recovered, Step, Workplace
    from dojang.locations.base import Location, PasswordProvider, RObject
    from dojang.locations.password_tries import PasswordTries
    from dojang.npki.keyfile import KeyFileForm
    from dojang.pkcs11.discovery import ModuleSearch
    from dojang.pkcs11.opened import OpenToken
    from dojang.pkcs11.pin import PinProvider, PinRequest
    from dojang.pkcs11.uri import Pkcs11Uri

STEPS = {
    "generate": N_("Making the key …"),
    "use-key": N_("Using the key that is there …"),
    "request": N_("Writing the request …"),
    "ask": N_("Asking the authority …"),
    "factors": N_("The authority asks for more before it issues …"),
    "install": N_("Installing the certificate …"),
    "prove": N_("Signing a challenge and verifying it …"),
    "confirm": N_("Confirming to the authority …"),
    "switch": N_("Switching from the old to the new …"),
    "delete": N_("Deleting …"),
    "check": N_("Checking path, validity, revocation and purpose …"),
    "revoke": N_("Revoking the old certificate; it stays revoked whatever follows …"),
    "retire": N_("Retiring the old one …"),
    "change-password": N_("Changing the password …"),
    "take": N_("Opening the key …"),
    "bring": N_("Putting the key into its new place …"),
    "remove": N_("Removing the original …"),
    "write": N_("Writing the backup aside …"),
    "drill": N_("Restoring the backup to a scratch folder and having it sign …"),
    "drill-second": N_("Bringing the key to the second HSM, having it sign, and removing it there …"),
    "wrap": N_("Wrapping the key …"),
    "unwrap": N_("Unwrapping the key …"),
    "make-kek": N_("Putting the wrapping key into the HSM …"),
}
PLANNED = {
    "generate": N_("Make a key ({algorithm}) named {label} in {location}"),
    "use-key": N_("Use the key ({algorithm}) that is in {location}"),
    "request": N_("Write a certificate request signed by that key"),
    "factors": N_("Pass what {authority} asks for before it issues: {factors}"),
    "ask": N_("Ask the authority {authority} for a certificate by the profile {profile}, and check the answer"),
    "ask-elsewhere": N_("Ask the authority {authority} for a certificate, and check the answer"),
    "install": N_("Install the certificate and its chain beside the key in {location}"),
    "prove": N_("Sign a challenge with the key and verify it with the certificate"),
    "confirm": N_("Confirm to the authority {authority}"),
    "switch": N_("Give the new credential the name {label} and retire the old one"),
    "delete": N_("Destroy the certificate and the key {label} ({address})"),
    "revoke": N_("Have the authority {authority} revoke {serial} for good"),
    "publish": N_("Publish the revocation list of {authority}"),
    "confirm-reissue": N_("Confirm to the authority {authority}, which then revokes {serial}"),
    "retire": N_("Retire the old one ({address}), if it can be reached"),
    "change-password": N_("Put {address} under a new password"),
    "take": N_("Open the key of {address} and check that it belongs to its certificate"),
    "bring": N_("Put the key, and what belongs to it, into {location} as {label}"),
    "remove": N_("Remove the original ({address}) after the copy has been opened again and has signed"),
    "write": N_("Write everything into {file}, under a password of its own"),
    "drill": N_("Restore {file} to a scratch folder, have each key sign, and wipe the folder"),
    "write-wrapped": N_("Write it into {file}"),
    "drill-second": N_("Bring the key in {file} to {second}, have it sign there, and remove it again"),
    "wrap": N_("Wrap the key {label} under the wrapping key {kek}"),
    "unwrap": N_("Unwrap the key under {kek} into {location} as {label}, never to leave again"),
    "make-kek": N_("Make a wrapping key {label} that never leaves {location}"),
    "hand-out": N_("Hand out its {shares} shares, of which {threshold} make it again"),
    "join": N_("Ask for the shares, and put the wrapping key they make into {location} as {label}"),
}
OUTCOMES = {
    "finished": N_("An earlier '{verb}' of {subject} had been cut short; it is finished now."),
    "undone": N_("An earlier '{verb}' of {subject} had been cut short; it is undone now."),
    "left": N_("An earlier '{verb}' of {subject} was cut short and waits: {problem}"),
}


@contextlib.contextmanager
def workplace(invocation: Invocation) -> "Iterator[Workplace]":
    """The place where lifecycle verbs work, for the length of one command."""
    from dojang.ledger import Ledger
    from dojang.lifecycle.workplace import Workplace

    settings = invocation.settings
    days = settings.renewal_window_days
    with Ledger.open(settings.ledger_path) as ledger, contextlib.ExitStack() as opened:
        elsewhere = Elsewhere(invocation, ledger, opened)
        yield Workplace(
            ledger=ledger,
            open_location=lambda address: open_location_at(invocation, address),
            open_authority=lambda name: open_authority_known(invocation, name, elsewhere),
            authorities=lambda: authority_names(invocation),
            open_authoritys_token=lambda address: open_signer_at(invocation, address),
            say=lambda step: invocation.out.note(_(STEPS[step])),
            tell_recovered=lambda recovered: tell(invocation, recovered),
            window=None if days is None else timedelta(days=days),
            hooks=_hooks(invocation),
            warn=lambda error: invocation.out.warning(message_of(error)),
            pass_factors=lambda sitting: _pass_factors(invocation, sitting),
            applicant=invocation.flags.applicant,
        )


def _pass_factors(invocation: Invocation, sitting: "FactorSitting") -> None:
    from dojang.cli.factors import FactorPrompts

    FactorPrompts(invocation)(sitting)


def _hooks(invocation: Invocation) -> "Hooks":
    """Any command may come to finish a renewal that was cut short before its hook."""
    from dojang.lifecycle.hooks import Hooks

    if invocation.settings.renew is None:
        return Hooks()
    from dojang.cli.renew_orders import hooks_of

    return hooks_of(invocation)


def tell(invocation: Invocation, recovered: "Recovered") -> None:
    """What became of an operation that an earlier run left behind."""
    invocation.out.note(recovered_words(recovered))


def recovered_words(recovered: "Recovered") -> str:
    record = recovered.record
    problem = message_of(recovered.error) if recovered.error is not None else ""
    subject = record.facts.get("label", record.facts.get("address", record.subject_key))
    return say(OUTCOMES[recovered.outcome], verb=record.verb, subject=subject, problem=problem)


def plan_words(steps: "Iterable[Step]") -> list[str]:
    """The steps of a plan in words."""
    return [say(PLANNED[step.name], **step.facts) for step in steps]


def open_location_at(
    invocation: Invocation,
    address: str,
    passwords: "PasswordProvider | None" = None,
    pins: "PinProvider | None" = None,
    search: "ModuleSearch | None" = None,
) -> "AbstractContextManager[Location]":
    """The location at ``address``; its PIN or password is asked for when something needs it.

    ``passwords`` gives those of files in place of ``--password-source``, ``pins`` that of a token in place of
    ``--pin-source``; ``search`` is where to look for its module, when that is known.
    """
    from dojang.locations.address import parse_address
    from dojang.locations.registry import open_location
    from dojang.pkcs11.uri import Pkcs11Uri

    parsed = parse_address(address)
    uri = parsed if isinstance(parsed, Pkcs11Uri) else None
    if uri is not None:
        invocation.note_token(address)
    return open_location(
        address,
        search=search or invocation.search(),
        pins=pins or invocation.pin_provider(uri),
        passwords=passwords or (lambda path, new: invocation.password(path, new=new)),
        guard=invocation.pin_guard(),
        last_try=invocation.last_try,
        agent=invocation.may_use_agent(uri),
        r_object=r_object(invocation),
        key_files=key_file_form(invocation) if uri is None else None,
        tries=password_tries(invocation) if uri is None else None,
        pkcs12_profile=invocation.flags.pkcs12_profile or invocation.settings.pkcs12_profile,
        so_pins=invocation.so_pin_provider() if invocation.flags.so_pin_source else _usual_management_key(invocation),
    )


def _usual_management_key(invocation: Invocation) -> "PinProvider":
    """Answers with none, so that the one of every card is tried; that is told before, once."""
    told = set[str]()

    def none(request: "PinRequest") -> None:
        if request.serial not in told:
            told.add(request.serial)
            text = N_(
                "No management key was given for the card {token}, so the one that every card is delivered with is "
                "tried. Whoever meets a card that takes it can change its certificates."
            )
            invocation.out.warning(say(text, token=request.token))

    return none


def key_file_form(invocation: Invocation) -> "KeyFileForm":
    """How key files are written: by flag, by setting, or as usual. A setting is about other programs' key files, so
    that only a flag says it of PEM files too.
    """
    from dojang.npki.keyfile import KeyFileForm

    flags, settings = invocation.flags, invocation.settings
    return KeyFileForm(
        flags.key_file_format or settings.key_file_format,
        flags.password_encoding or settings.password_encoding or KeyFileForm().encoding,
        in_pem=KeyFileForm(flags.key_file_format, flags.password_encoding or KeyFileForm().encoding),
    )


def password_tries(invocation: Invocation) -> "PasswordTries":
    """Where wrong passwords of files are counted."""
    from dojang.locations.password_tries import USUAL_LIMIT, PasswordTries

    settings = invocation.settings
    limit = USUAL_LIMIT if settings.password_tries is None else settings.password_tries
    return PasswordTries(settings.password_tries_dir, limit, beyond=invocation.last_try)


def r_object(invocation: Invocation) -> "RObject":
    """What the settings say R goes by on tokens."""
    from dojang.locations.base import R_OBJECT, RObject

    label, application = invocation.settings.r_object_label, invocation.settings.r_object_application
    return RObject(label or R_OBJECT.label, application or R_OBJECT.application)


def open_signer_at(
    invocation: Invocation, address: str, search: "ModuleSearch | None" = None
) -> "AbstractContextManager[Location]":
    """The token with an authority's key; ``--pin-source`` is not for it where the command works on another."""
    from dojang.pkcs11.uri import Pkcs11Uri

    pins = invocation.ca_pin_provider(Pkcs11Uri.from_text(address))
    return open_location_at(invocation, address, pins=pins, search=search)


def open_authority_known(
    invocation: Invocation, name: str, elsewhere: Elsewhere
) -> "AbstractContextManager[CertificateAuthority]":
    """The authority of that name here, or the one at that URL."""
    return elsewhere.open(name) if is_url(name) else open_authority_named(invocation, name)


def check_is_here(name: str) -> None:
    """``UnsupportedOperation`` for an authority that is only reached over its centre."""
    if is_url(name):
        raise UnsupportedOperation(
            where=name, operation=Phrase("be told this from afar"), next_step="Run the command where the authority is."
        )


@contextlib.contextmanager
def open_authority_named(
    invocation: Invocation, name: str, search: "Callable[[str], ModuleSearch] | None" = None
) -> "Iterator[LocalAuthority]":
    """The local authority of that name; the token with its key is opened when something must be signed."""
    from dojang.authority.local import open_authority

    check_is_here(name)
    with (
        key_opener(invocation, search) as key,
        open_authority(invocation.settings.authorities_dir, name, key) as authority,
    ):
        yield authority


@contextlib.contextmanager
def key_opener(
    invocation: Invocation,
    search: "Callable[[str], ModuleSearch] | None" = None,
    pins: "Callable[[Pkcs11Uri], PinProvider] | None" = None,
) -> "Iterator[AuthorityTokens]":
    """Opens keys and secrets of authorities by their addresses; their tokens stay open until this is left.

    ``search`` says where to look for the module of each, when that is known; ``pins`` where their PINs come from, if
    not from where ``--ca-pin-source`` says.
    """
    from dojang.agent.opening import open_token
    from dojang.cli.authority_tokens import AuthorityTokens
    from dojang.pkcs11.uri import Pkcs11Uri

    pins = pins or invocation.ca_pin_provider
    with contextlib.ExitStack() as tokens:

        def opened(address: str) -> "OpenToken":
            uri = Pkcs11Uri.from_text(address)
            token = open_token(
                uri.token_part(),
                pins(uri),
                search=invocation.search() if search is None else search(address),
                guard=invocation.pin_guard(),
                last_try=invocation.last_try,
                agent=invocation.may_use_agent(uri, invocation.ca_pin_source),
            )
            return tokens.enter_context(token)

        yield AuthorityTokens(opened)


def authority_names(invocation: Invocation) -> list[str]:
    """The local authorities."""
    from dojang.authority import folder

    return folder.authority_names(invocation.settings.authorities_dir)


def chosen_authority(invocation: Invocation, name: str | None) -> str:
    """The authority named, or the only one. ``NotFound`` where there is none, ``InputRequired`` if nobody chooses."""
    names = authority_names(invocation)
    if name is not None:
        return name
    if not names:
        raise NotFound(
            what=_("A certificate authority"),
            where=invocation.settings.authorities_dir,
            command="dojang ca show",
            next_step=N_("Set one up with 'dojang ca init --key pkcs11:token=LABEL --name DN'."),
        )
    if len(names) == 1:
        return names[0]
    rows = [[one] for one in names]
    return names[invocation.choose(N_("Which authority"), [N_("Authority")], rows, option="--ca NAME")]
