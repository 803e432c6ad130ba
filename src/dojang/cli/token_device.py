"""A token and the one-time passwords on the same device, shown as the one thing that is plugged in."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.language import N_, say

if TYPE_CHECKING:
    from dojang.otp.base import Seed
    from dojang.otp.oath.plugged import Plugged
    from dojang.pkcs11 import Token


def devices_of(tokens: "Sequence[Token]") -> "list[Plugged | None]":
    """For each token the OATH device that it is too.

    Only a token that can be pulled out is one; where none is, no library for cards is loaded.
    """
    if not any(token.slot.removable for token in tokens):
        return [None] * len(tokens)
    from dojang.otp.oath.plugged import beside, plugged

    devices = plugged()
    return [
        beside(devices, token.slot.description, token.info.serial) if token.slot.removable else None for token in tokens
    ]


def device_data(device: "Plugged | None") -> dict[str, Any] | None:
    """What ``--json`` says under ``otp`` of a token."""
    if device is None:
        return None
    return {"address": device.address, "locked": device.locked, "seeds": [_seed_data(seed) for seed in device.seeds]}


def key_data(invocation: Invocation, token: "Token") -> list[dict[str, Any]]:
    """The keys that have a certificate, which the token shows without its PIN."""
    from dojang.pkcs11 import OpenToken
    from dojang.pkcs11.uri import Pkcs11Uri

    own = Pkcs11Uri.from_text(token.address)
    with OpenToken(token, None, invocation.pin_guard()) as opened:
        return [
            {"label": one.label, "id": one.key_id.hex(), "address": own.for_object(id=one.key_id).to_text()}
            for one in opened.certificates()
        ]


def device_lines(device: "Plugged", keys: Sequence[dict[str, Any]]) -> list[str]:
    """Keys and seeds of one device for people."""
    lines = [say("Key with certificate: {label} ({address})", **key) for key in keys]
    lines.append(say("One-time passwords: {address}", address=device.address))
    if device.locked:
        lines.append(say("Seeds: behind a password; dojang otp list '{address}'", address=device.address))
    return [*lines, *map(_seed_line, device.seeds)]


def _seed_line(seed: "Seed") -> str:
    text = (
        N_("Seed: {name}, {kind}, after a touch ({address})") if seed.touch else N_("Seed: {name}, {kind} ({address})")
    )
    return say(text, name=seed.name, kind=seed.parameters.kind.upper(), address=seed.address)


def _seed_data(seed: "Seed") -> dict[str, Any]:
    return {"address": seed.address, "name": seed.name, "kind": seed.parameters.kind, "touch": seed.touch}
