"""Where the seed of ``dojang otp add`` comes from: an otpauth URI, base32, a PSKC file, or the device itself."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.language import N_, _
from dojang.errors import Ambiguous, Phrase, Usage
from dojang.otp.base import NewSeed
from dojang.otp.oath.address import SCHEME, OathAddress

if TYPE_CHECKING:
    from dojang.otp.parameters import OtpParameters
    from dojang.secret import Secret

TOKEN = "pkcs11:"  # noqa: S105 - a scheme
_SHAPE = ("kind", "digits", "period", "hash_name", "suite")


def new_seed(invocation: Invocation, address: str, given: dict[str, Any]) -> NewSeed:
    """From where it was said to come; name, issuer and account may be said beside."""
    sources = [given[name] for name in ("uri_source", "seed_source", "pskc") if given[name] is not None]
    if len(sources) > 1:
        raise Usage(problem=N_("a seed comes from one place: --uri-source, --seed-source or --pskc"))
    if given["uri_source"] is not None or given["pskc"] is not None:
        if any(given[name] is not None for name in (*_SHAPE, "counter")):
            raise Usage(problem=N_("the URI or the file says how the codes are computed"))
        new = _given_seed(invocation, given)
    else:
        new = NewSeed("", _parameters(given), _typed_seed(invocation, given["seed_source"]), given["counter"] or 0)
    name = given["name"] or _named(address) or new.name or given["account"] or new.parameters.kind
    return NewSeed(name, _told(new.parameters, given), new.secret, new.counter, given["touch"])


def _parameters(given: dict[str, Any]) -> "OtpParameters":
    from dojang.otp.parameters import OtpParameters

    said = {name: given[name] for name in _SHAPE if given[name] is not None}
    if "suite" in said:
        said.setdefault("kind", "ocra")
    if "period" in said:
        said["period"] = int(said["period"])
    return OtpParameters(**said)


def _told(parameters: "OtpParameters", given: dict[str, Any]) -> "OtpParameters":
    from dataclasses import replace

    return replace(parameters, **{name: given[name] for name in ("issuer", "account") if given[name] is not None})


def _given_seed(invocation: Invocation, given: dict[str, Any]) -> NewSeed:
    if given["pskc"] is not None:
        file: Path = given["pskc"]
        seeds: list[NewSeed] = import_module("dojang.cli.otp_pskc").seeds_in(invocation, file, given["key_source"])
        if len(seeds) != 1:
            raise Ambiguous(what=str(file), matches=", ".join(one.name for one in seeds))
        return seeds[0]
    from dojang.otp.otpauth import parse_uri

    purpose = Phrase(N_("otpauth URI"))
    return parse_uri(invocation.secrets.typed(given["uri_source"], "--uri-source", purpose, _("otpauth URI")))


def _typed_seed(invocation: Invocation, source: str | None) -> "Secret | None":
    if source is None:
        return None
    from dojang.otp.otpauth import seed_from_base32

    typed = invocation.secrets.typed(source, "--seed-source", Phrase(N_("seed")), _("Seed (base32)"))
    return seed_from_base32(typed.reveal().decode("utf-8", "replace"))


def _named(address: str) -> str | None:
    if address.startswith(TOKEN):
        from dojang.pkcs11.uri import Pkcs11Uri

        return Pkcs11Uri.from_text(address).object
    if address.startswith(SCHEME):
        return OathAddress.from_text(address).name
    return None
