"""``dojang otp`` on devices: tokens that keep seeds as keys, security keys with the OATH applet."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.language import N_, _, message_of, say
from dojang.cli.otp_new_seed import TOKEN, new_seed
from dojang.cli.workplace import workplace
from dojang.errors import Ambiguous, DojangError, Interrupted, InvalidOtp, Phrase, UnsupportedOperation, Usage
from dojang.otp.base import AnswersChallenges, ChecksCodes, Code, MakesSeeds, OtpDevice, Question, Seed

if TYPE_CHECKING:
    from dojang.otp.parameters import OtpParameters
    from dojang.pkcs11 import Token
    from dojang.secret import Secret


def open_device_at(invocation: Invocation, address: str) -> AbstractContextManager[OtpDevice]:
    """The device in which ``address`` lies; its PIN or password is asked for when something needs it."""
    from dojang.otp.base import Access
    from dojang.otp.held.counters import FILE_NAME
    from dojang.otp.registry import open_device
    from dojang.pkcs11.uri import Pkcs11Uri

    where = invocation.address(address)
    uri = Pkcs11Uri.from_text(where) if where.startswith(TOKEN) else None
    access = Access(
        counters=invocation.settings.state_dir / FILE_NAME,
        search=invocation.search(),
        pins=invocation.pin_provider(uri),
        passwords=lambda purpose: invocation.password(purpose),
        guard=invocation.pin_guard(),
        last_try=invocation.last_try,
        wants_touch=lambda: invocation.out.request(_("Touch the device now …")),
    )
    return open_device(str(uri.token_part()) if uri is not None else where, access)


@contextmanager
def _seed_at(invocation: Invocation, address: str) -> Iterator[tuple[OtpDevice, Seed]]:
    with open_device_at(invocation, address) as device:
        seed = device.find(invocation.address(address))
        if seed.problem:
            raise InvalidOtp(problem=seed.problem)
        yield device, seed


def seed_data(seed: Seed) -> dict[str, Any]:
    """A seed as every command prints it with ``--json``."""
    parameters = seed.parameters
    return {
        "address": seed.address,
        "name": seed.name,
        "kind": parameters.kind,
        "hash": parameters.hash_name,
        "digits": parameters.digits,
        "period": parameters.period if parameters.kind == "totp" else None,
        "suite": parameters.suite,
        "issuer": parameters.issuer,
        "account": parameters.account,
        "touch": seed.touch,
        "problem": seed.problem,
    }


def kind_words(parameters: "OtpParameters") -> str:
    """How the codes are computed, in few words."""
    if parameters.suite is not None:
        return parameters.suite
    words = f"{parameters.kind.upper()} {parameters.hash_name.upper()}"
    return f"{words} {parameters.digits}" + (f" / {parameters.period} s" if parameters.kind == "totp" else "")


def add(invocation: Invocation, address: str, **given: Any) -> None:
    """Made or given, proven, and only then there."""
    from dojang.lifecycle.seeds import add_seed

    where = invocation.address(address)
    new = new_seed(invocation, where, given)
    with open_device_at(invocation, address) as device:
        text = N_("Put the seed {name} ({kind}) into {device}, never to come out again, and have it prove itself")
        if new.secret is None:
            text = N_("Have {device} make the seed {name} ({kind}), which never comes out, and have it prove itself")
        facts = {"name": new.name, "kind": kind_words(new.parameters), "device": device.address}
        if invocation.planned([say(text, **facts)], address=device.address, name=new.name):
            return
        if new.secret is None and not (isinstance(device, MakesSeeds) and device.makes(new.parameters)):
            raise UnsupportedOperation(
                where=device.address,
                operation=Phrase("make a seed itself"),
                next_step=N_("Give one with --uri-source, --seed-source or --pskc."),
            )
        with workplace(invocation) as place:
            seed = add_seed(place, device, new)
    said = say(
        "Added {name} ({kind}): {address}", name=seed.name, kind=kind_words(seed.parameters), address=seed.address
    )
    text = N_("Next: dojang otp code '{address}'")
    if seed.parameters.kind == "ocra":
        text = N_("Next: dojang otp code '{address}' --challenge TEXT")
    hint = say(text, address=seed.address)
    invocation.result({"seed": seed_data(seed)}, f"{said}\n{hint}", quiet=[seed.address])


def list_(invocation: Invocation, address: str | None) -> None:
    """Of one device, or of all that show theirs to anybody, or to whom a source is given for."""
    seeds: list[Seed] = []
    failures: list[DojangError] = []
    addresses, unread = ([address], []) if address is not None else _present(invocation)
    for one in addresses:
        try:
            with open_device_at(invocation, one) as device:
                seeds += device.seeds()
        except DojangError as error:
            if address is not None:
                raise
            failures.append(error)
            invocation.out.note(message_of(error))
    columns = [N_("Name"), N_("Issuer"), N_("Account"), N_("Kind"), N_("Address")]
    rows = [[one.name, one.parameters.issuer, one.parameters.account, _shown(one), one.address] for one in seeds]
    for one in unread:
        invocation.out.note(say("Behind a PIN or password: dojang otp list '{address}'", address=one))
    nothing = "" if failures or unread else _("There is no seed for one-time passwords.")
    text = invocation.out.table(columns, rows) if rows else nothing
    data = {
        "seeds": [seed_data(one) for one in seeds],
        "failures": [one.code for one in failures],
        "unread": unread,
    }
    invocation.result(data, text, quiet=[one.address for one in seeds])


def _shown(seed: Seed) -> str:
    kind = kind_words(seed.parameters)
    return seed.problem or (say("{kind}, touch", kind=kind) if seed.touch else kind)


def _present(invocation: Invocation) -> tuple[list[str], list[str]]:
    """Every device that is there and may have seeds: those that are opened, and those behind a PIN or password that no
    source was named for, which nobody is asked for here. What a source holds is one token's PIN, or the password of
    one device: nothing is tried on several.
    """
    from dojang.otp.oath.plugged import plugged
    from dojang.pkcs11 import list_tokens

    tokens = [token for token in list_tokens(invocation.search()).tokens if _may_have_seeds(token)]
    closed = [token.address for token in tokens if token.info.login_required]
    devices = plugged()
    locked = [device.address for device in devices if device.locked]
    flags, settings = invocation.flags, invocation.settings
    unread = _unread(flags.pin_source or settings.pin_source, _("Every token"), closed)
    unread += _unread(flags.password_source or settings.password_source, _("Every device with a password"), locked)
    there = [token.address for token in tokens] + [device.address for device in devices]
    return [one for one in there if one not in unread], unread


def _unread(source: str | None, what: str, closed: list[str]) -> list[str]:
    """Those that stay closed; ``Ambiguous`` where a source was named and could be for any of several."""
    if source is None:
        return closed
    if len(closed) > 1:
        raise Ambiguous(what=what, matches=", ".join(closed))
    return []


def _may_have_seeds(token: "Token") -> bool:
    from dojang.otp.held.device import computes_codes

    try:
        return computes_codes(token)
    except DojangError:
        return True  # what is wrong with it is told when it is opened


def code(
    invocation: Invocation,
    address: str,
    *,
    watch: bool,
    challenges: tuple[str, ...],
    session: str | None,
    ocra_pin_source: str | None,
) -> None:
    """One code, or one after the other."""
    question = _question(invocation, challenges, session, ocra_pin_source)
    with _seed_at(invocation, address) as (device, seed):
        if invocation.planned([say("Compute the next code of {name} in its device", name=seed.name)]):
            return
        if watch:
            _watch(invocation, device, seed)
        now = datetime.now(UTC)
        found = _computed(device, seed, question, now)
    left = None if found.valid_until is None else _seconds(found, now)
    data = {
        "address": seed.address,
        "code": found.code,
        "valid_until": found.valid_until,
        "seconds_left": left,
        "counter": found.counter,
    }
    text = found.code if left is None else f"{found.code}\n" + say("good for {seconds} more seconds", seconds=left)
    invocation.result(data, text, quiet=[found.code])


def _computed(device: OtpDevice, seed: Seed, question: Question | None, at: datetime) -> Code:
    if question is None:
        return device.code(seed, at)
    if not isinstance(device, AnswersChallenges) or seed.parameters.kind != "ocra":
        raise InvalidOtp(problem="only OCRA answers challenges")
    return device.answer(seed, question, at)


def _seconds(found: Code, now: datetime) -> int:
    assert found.valid_until is not None
    return max(0, -int(-(found.valid_until - now).total_seconds() // 1))


def _watch(invocation: Invocation, device: OtpDevice, seed: Seed) -> None:
    """The present code, anew each second, on one line of a terminal; Ctrl-C ends it."""
    if seed.parameters.kind != "totp" or not sys.stdout.isatty() or invocation.flags.json:
        raise Usage(problem=N_("--watch shows codes that go by the time, and on a terminal"))
    found = None
    try:
        while True:
            now = datetime.now(UTC)
            if found is None or found.valid_until is None or now >= found.valid_until:
                found = device.code(seed, now)
            sys.stdout.write("\r" + say("{code}  {seconds} s  ", code=found.code, seconds=_seconds(found, now)))
            sys.stdout.flush()
            time.sleep(1 - now.microsecond / 1e6)
    except KeyboardInterrupt:
        sys.stdout.write("\r\x1b[K")
        raise Interrupted from None


def _question(
    invocation: Invocation, challenges: tuple[str, ...], session: str | None, pin_source: str | None
) -> Question | None:
    if not challenges:
        if session is not None or pin_source is not None:
            raise Usage(problem=N_("--session and --ocra-pin-source go with --challenge"))
        return None
    try:
        data = None if session is None else bytes.fromhex(session)
    except ValueError:
        raise Usage(problem=N_("--session is written in hexadecimal")) from None
    pin = None
    if pin_source is not None:
        purpose = Phrase(N_("PIN for the code"))
        pin = invocation.secrets.typed(pin_source, "--ocra-pin-source", purpose, _("PIN for the code"))
    return Question(challenges, pin, data)


def verify(
    invocation: Invocation,
    address: str,
    code_source: str | None,
    *,
    challenges: tuple[str, ...],
    session: str | None,
    ocra_pin_source: str | None,
) -> None:
    """Accepted once, or refused."""
    question = _question(invocation, challenges, session, ocra_pin_source)
    with _seed_at(invocation, address) as (device, seed):
        checker = _checker(device)
        if invocation.planned([say("Check the code of {name}, and accept no older one any more", name=seed.name)]):
            return
        checker.verify(seed, _typed_code(invocation, code_source, "--code-source"), datetime.now(UTC), question)
    invocation.result({"address": seed.address, "valid": True}, say("The code of {name} is right.", name=seed.name))


def _typed_code(invocation: Invocation, source: str | None, name: str) -> "Secret":
    question = _("Code") if name == "--code-source" else _("The next code")
    return invocation.secrets.typed(source, name, Phrase(N_("one-time password")), question)


def _checker(device: OtpDevice) -> ChecksCodes:
    if not isinstance(device, ChecksCodes):
        raise UnsupportedOperation(
            where=device.address,
            operation=Phrase("check codes; it only shows them"),
            next_step=N_("Have it checked by who checks its codes."),
        )
    return device


def resync(invocation: Invocation, address: str, sources: tuple[str | None, str | None], counter: int | None) -> None:
    """By two codes, or by a counter."""
    with _seed_at(invocation, address) as (device, seed):
        checker = _checker(device)
        if invocation.planned([say("Set {name} to where its device is", name=seed.name)]):
            return
        if counter is not None:
            following = checker.set_counter(seed, counter)
        else:
            first = _typed_code(invocation, sources[0], "--code-source")
            second = _typed_code(invocation, sources[1], "--next-code-source")
            following = checker.resync(seed, first, second, datetime.now(UTC))
    by_time = seed.parameters.kind == "totp"
    text = N_("{name} is in step again.") if by_time else N_("{name} goes on with the counter {counter}.")
    data = {"address": seed.address, "counter": None if by_time else following}
    invocation.result(data, say(text, name=seed.name, counter=following))


def delete(invocation: Invocation, address: str, yes: str | None) -> None:
    """After the serial was confirmed."""
    from dojang.lifecycle.seeds import delete_seed

    with open_device_at(invocation, address) as device:
        seed = device.find(invocation.address(address))
        if invocation.planned([say("Destroy the seed {name} ({address})", name=seed.name, address=seed.address)]):
            return
        what = say("the seed {name}", name=seed.name)
        invocation.confirm_serial(
            device.serial, yes, what=what, option="--yes SERIAL", question=N_("The device's serial")
        )
        with workplace(invocation) as place:
            delete_seed(place, device, seed)
    invocation.result({"address": seed.address, "destroyed": 1}, say("Destroyed the seed {name}.", name=seed.name))
