"""Tokens and keys as JSON and as lines for people."""

from typing import TYPE_CHECKING, Any

from dojang.cli.language import N_, _, say

if TYPE_CHECKING:
    from dojang.pkcs11.objects import TokenObject
    from dojang.pkcs11.pin import PinRequest, PinState
    from dojang.pkcs11.token import Token, TokenInfo

_PIN_STATES = {
    "locked": N_("locked"),
    "final_try": N_("one try left"),
    "count_low": N_("tries running out"),
    "to_be_changed": N_("must be changed"),
}


def token_data(token: "Token") -> dict[str, Any]:
    """A token as every command prints it with ``--json``."""
    return info_data(token.info, module=token.module.path, address=token.address)


def info_data(info: "TokenInfo", *, module: str, address: str) -> dict[str, Any]:
    """What a token said of itself, as every command prints it with ``--json``."""
    return {
        "label": info.label,
        "serial": info.serial,
        "model": info.model,
        "manufacturer": info.manufacturer,
        "module": module,
        "address": address,
        "flags": info.flag_names(),
        "initialized": info.initialized,
        "user_pin": pin_state_names(info.user_pin),
        "so_pin": pin_state_names(info.so_pin),
        "firmware": info.firmware,
    }


def token_lines(token: "Token") -> list[str]:
    """A token for people, a fact a line."""
    info = token.info
    return [
        say("Token: {label}", label=info.label),
        say("Address: {address}", address=token.address),
        say("Serial: {serial}", serial=info.serial),
        say("Model: {model} ({manufacturer})", model=info.model, manufacturer=info.manufacturer),
        say("Module: {module}", module=token.module.path),
        say("User PIN: {state}", state=pin_words(info)),
        say("SO PIN: {state}", state=_state_words(info.so_pin)),
        say("Flags: {flags}", flags=", ".join(info.flag_names())),
    ]


def key_data(key: "TokenObject", address: str) -> dict[str, Any]:
    """A key as every command prints it with ``--json``."""
    return {
        "label": key.label,
        "id": key.key_id,
        "algorithm": key.algorithm,
        "address": address,
        "attributes": key.attributes,
    }


def pin_state_names(state: "PinState") -> list[str]:
    """What is unusual about a PIN: ``locked``, ``final-try``, ``count-low``, ``to-be-changed``."""
    return [name.replace("_", "-") for name in _PIN_STATES if getattr(state, name)]


def pin_words(info: "TokenInfo") -> str:
    """The state of the user PIN for people."""
    return _state_words(info.user_pin) if info.user_pin_set else _("not set")


def pin_request(info: "TokenInfo", role: str) -> "PinRequest":
    """A question for one of the PINs of a token."""
    from dojang.pkcs11.pin import PinRequest

    state = info.so_pin if role == "so" else info.user_pin
    return PinRequest(
        token=info.label,
        serial=info.serial,
        role=role,
        count_low=state.count_low,
        final_try=state.final_try,
        min_length=info.min_pin_length,
        max_length=info.max_pin_length,
        keypad=info.protected_authentication_path,
    )


def _state_words(state: "PinState") -> str:
    words = [_(text) for name, text in _PIN_STATES.items() if getattr(state, name)]
    return ", ".join(words) or _("in order")
