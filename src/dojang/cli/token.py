"""``dojang token``: list, show, init, wipe. (The PINs are in ``token_pin``.)"""

from typing import TYPE_CHECKING

from dojang.cli.context import Invocation
from dojang.cli.describe import pin_request, pin_words, token_data, token_lines
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.token_device import device_data, device_lines, devices_of, key_data
from dojang.errors import AlreadyExists, Phrase, TokenNotFound

if TYPE_CHECKING:
    from dojang.pkcs11 import Slot, Token, TokenListing


@command(
    help=N_("List the tokens that are present, in every module that can be found."),
    examples=["dojang token list", "dojang token list --json --module /usr/lib/softhsm/libsofthsm2.so"],
)
def list_(invocation: Invocation) -> None:
    """Print every token with the address that names it."""
    from dojang.pkcs11 import list_tokens

    listing = list_tokens(invocation.search())
    _raise_when_the_named_module_failed(invocation, listing)
    data = {
        "tokens": [
            {**token_data(token), "otp": device_data(device)}
            for token, device in zip(listing.tokens, devices_of(listing.tokens), strict=True)
        ],
        "empty_slots": [
            {"description": slot.description, "module": slot.module.path, "problem": slot.problem}
            for slot in listing.empty_slots
        ],
        "failures": [{"code": failure.code, **failure.facts} for failure in listing.failures],
    }
    invocation.result(data, lambda: _table(invocation, listing), quiet=[token.address for token in listing.tokens])


def _raise_when_the_named_module_failed(invocation: Invocation, listing: "TokenListing") -> None:
    """A module that was asked for by name and does not load is the answer; one that was only found is a remark."""
    if listing.failures and not listing.tokens and (invocation.flags.module or invocation.settings.module):
        raise listing.failures[0]


def _table(invocation: Invocation, listing: "TokenListing") -> str:
    if listing.failures:
        invocation.out.note(
            say("Modules that did not load: {count}. 'dojang doctor' says why.", count=len(listing.failures))
        )
    for slot in listing.empty_slots:
        if slot.problem:
            text = N_("The slot {slot} of {module} cannot be read: {result}.")
            invocation.out.note(say(text, slot=slot.description, module=slot.module.path, result=slot.problem))
    if not listing.tokens:
        return _("No token is present. Set up an empty slot with 'dojang token init --label NAME'.")
    columns = [N_("Label"), N_("Serial"), N_("Model"), N_("PIN"), N_("Address")]
    rows = [
        [token.info.label, token.info.serial, token.info.model, pin_words(token.info), token.address]
        for token in listing.tokens
    ]
    return invocation.out.table(columns, rows)


@command(
    help=N_(
        "Show one token: its flags, the state of its PINs and the mechanisms it offers. "
        "Where the device has seeds of one-time passwords too, they and its keys are shown with it."
    ),
    examples=["dojang token show 'pkcs11:token=Hong'", "dojang token show @work --json"],
)
@argument("address", metavar="ADDRESS")
def show(invocation: Invocation, address: str) -> None:
    """Print what the token says of itself, and what else the same device holds; no PIN is asked."""
    from dojang.pkcs11 import find_token

    token = find_token(invocation.address(address), invocation.search())
    mechanisms = token.mechanisms().names()
    data = {**token_data(token), "mechanisms": mechanisms, "otp": None}
    lines = [*token_lines(token), say("Mechanisms: {names}", names=", ".join(mechanisms))]
    (device,) = devices_of([token])
    if device is not None:
        keys = key_data(invocation, token)
        data |= {"otp": device_data(device), "keys": keys}
        lines += device_lines(device, keys)
    invocation.result({"token": data}, "\n".join(lines), quiet=[token.address])


@command(
    help=N_("Initialise an empty slot: give the token its label, its SO PIN and its user PIN."),
    examples=[
        "dojang token init --label Hong",
        "dojang token init --label Hong --so-pin-source file:so.pin --new-pin-source env:PIN",
    ],
)
@option("--label", required=True, help=N_("Label of the new token, at most 32 bytes."))
@option("--serial", help=N_("Serial of the uninitialised token to take; otherwise the first free slot."))
@option("--new-pin-source", metavar="SRC", help=N_("Where the new user PIN comes from."))
def init(invocation: Invocation, label: str, serial: str | None, new_pin_source: str | None) -> None:
    """Initialise the slot; an existing label is ``AlreadyExists`` and nothing is touched."""
    from dojang.pkcs11 import list_tokens

    listing = list_tokens(invocation.search())
    _raise_when_the_named_module_failed(invocation, listing)
    slot = _free_slot(listing, label, serial)
    steps = [
        say("Initialise the slot {slot} with the label {label}", slot=slot.description, label=label),
        say("Set the SO PIN and the user PIN"),
    ]
    if invocation.planned(steps, label=label, slot=slot.description):
        return
    token = _initialize(invocation, slot, label, new_pin_source)
    text = say("Token {label} is ready: {address}", label=label, address=token.address)
    hint = say("Next: dojang key generate '{address}' --algorithm ec-p256", address=token.address)
    invocation.result({"token": token_data(token)}, f"{text}\n{hint}", quiet=[token.address])


def _free_slot(listing: "TokenListing", label: str, serial: str | None) -> "Slot":
    """The slot to initialise: the one with ``serial``, else the first that is empty."""
    for token in listing.tokens:
        if token.info.label == label or (serial is not None and token.info.serial == serial):
            raise AlreadyExists(
                what=Phrase(N_("Token {label}"), label=token.info.label),
                where=token.address,
                next_step=N_("Choose another label, or empty that token: dojang token wipe '{where}'"),
            )
    for slot in listing.empty_slots:
        if slot.info is not None and serial in (None, slot.info.serial):
            return slot
    raise TokenNotFound(wanted=serial or Phrase(N_("an empty slot")))


def _initialize(invocation: Invocation, slot: "Slot", label: str, new_pin_source: str | None) -> "Token":
    assert slot.info is not None
    info = slot.info._replace(label=label)
    flags, settings = invocation.flags, invocation.settings
    so_source = flags.so_pin_source or settings.so_pin_source
    source = new_pin_source or flags.pin_source or settings.pin_source
    so_pin = invocation.new_pin_provider(so_source, "--so-pin-source")(pin_request(info, "so"))
    user_pin = invocation.new_pin_provider(source)(pin_request(info, "user"))
    return slot.initialize(label=label, so_pin=so_pin, user_pin=user_pin, guard=invocation.pin_guard())


@command(
    help=N_("Destroy everything on a token and give it a label again. The token's serial must be typed or passed."),
    examples=["dojang token wipe 'pkcs11:token=Hong' --yes-wipe 1a2b3c4d5e6f7081"],
)
@argument("address", metavar="ADDRESS")
@option("--yes-wipe", metavar="SERIAL", help=N_("Serial of the token, to show that this one is meant."))
@option("--label", help=N_("New label; otherwise the token keeps its own."))
def wipe(invocation: Invocation, address: str, yes_wipe: str | None, label: str | None) -> None:
    """Initialise the token again after the serial was confirmed and the SO PIN given."""
    from dojang.pkcs11 import find_token

    token = find_token(invocation.address(address), invocation.search())
    info = token.info
    steps = [
        say("Destroy every key, certificate and PIN on token {label} ({serial})", label=info.label, serial=info.serial)
    ]
    if invocation.planned(steps, address=token.address):
        return
    token.refuse_doubtful_serial()
    what = say("every key on token {label}", label=info.label)
    invocation.confirm_serial(info.serial, yes_wipe, what=what, option="--yes-wipe SERIAL")
    wiped = _wipe(invocation, token, label or info.label)
    text = say(
        "Token {label} is empty. Give it a user PIN with: dojang token pin unblock '{address}'",
        label=wiped.info.label,
        address=wiped.address,
    )
    invocation.result({"token": token_data(wiped)}, text, quiet=[wiped.address])


def _wipe(invocation: Invocation, token: "Token", label: str) -> "Token":
    so_pin = invocation.so_pin_provider()(pin_request(token.info, "so"))
    guard = invocation.pin_guard()
    return token.wipe(serial=token.info.serial, so_pin=so_pin, guard=guard, label=label, last_try=invocation.last_try)
