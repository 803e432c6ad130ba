"""Passing what an authority asks for before it issues: with codes from where ``--factor`` says, or from a person."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from dojang.cli.context import Invocation
from dojang.cli.factor_words import FACTOR_NAMES, factor_name
from dojang.cli.flags import keep
from dojang.cli.frame import option
from dojang.cli.language import N_, _, advice_of, message_of, say
from dojang.errors import FactorRefused, FactorUnavailable, InputRequired, Phrase, Usage

if TYPE_CHECKING:
    from dojang.authority.base import FactorSitting
    from dojang.cmp.factors import Offer, Outcome, Prepared, Wanted
    from dojang.secret import Secret

CALL: Final = "ars"
_LOOK_AGAIN: Final = 2.0
_LONGEST_CALL: Final = 3600
_MESSAGES: Final = ("sms", "mail")
_SCHEMES: Final = ("pkcs11:", "oath:")
_WHY: Final = {
    "locked": N_("it is locked after too many wrong codes"),
    "over": N_("no code is waited for any more"),
    "waiting": N_("nothing was pressed in the call"),
}


def factor_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """For a command that may have to pass factors. Nothing is passed on; whoever passes them looks."""

    def taken(ctx: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> None:
        if ctx.obj is not None:
            ctx.obj.flags.factors = value  # none, too, tells that this command takes them

    factor = option(
        "--factor",
        "factors",
        metavar="FACTOR[:DEVICE][=SRC]",
        multiple=True,
        help=N_(
            "How a factor is passed that the authority asks for: otp, card, sms or mail with the source of its code "
            "(for otp also the address of a seed), ars for a call. Repeatable."
        ),
        expose_value=False,
        callback=taken,
    )
    wrapped: Callable[..., Any] = factor(function)
    return wrapped


def applicant_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Who asks, for an authority here that asks for factors and has given out no code."""
    text = N_("Who asks, where an authority here wants factors: an id of 'dojang ca applicant list'.")
    named = option("--applicant", metavar="ID", help=text, expose_value=False, callback=keep)
    wrapped: Callable[..., Any] = named(function)
    return wrapped


@dataclass(frozen=True, slots=True)
class Given:
    """What ``--factor`` says of one factor. ``source`` is where its code comes from, or the address of a seed."""

    factor: str
    device: str | None
    source: str | None

    @property
    def seed(self) -> str | None:
        """The address of the seed whose code it is."""
        is_address = self.source is not None and self.source.startswith(_SCHEMES)
        return self.source if self.factor == "otp" and is_address else None


def given_in(texts: Iterable[str]) -> dict[str, Given]:
    """The options as they were given, by factor. ``Usage``."""
    found: dict[str, Given] = {}
    for text in texts:
        name, _equals, source = text.partition("=")
        factor, _colon, device = name.partition(":")
        if factor not in FACTOR_NAMES:
            known = ", ".join(FACTOR_NAMES)
            raise Usage(problem=Phrase("'{factor}' is no factor: {known}", factor=factor[:32], known=known))
        if not source and factor != CALL:
            raise Usage(problem=Phrase("--factor {factor} wants a source: {factor}=SRC", factor=factor))
        if factor in found:
            raise Usage(problem=Phrase("--factor {factor} is given twice", factor=factor))
        found[factor] = Given(factor, device or None, source or None)
    return found


class FactorPrompts:
    """Passes factors for one run. ``here`` is the place of the new key, whose own seeds are offered."""

    def __init__(self, invocation: Invocation, here: str | None = None) -> None:
        self._invocation, self._here = invocation, here
        self._given = given_in(invocation.flags.factors or ())

    def __call__(self, sitting: "FactorSitting") -> None:
        """All that is missing; what was passed before is not asked for. ``FactorRefused``, ``InputRequired``."""
        wanted = sitting.wanted()
        for factor in () if wanted.is_enough else self._way(sitting, wanted):
            self._pass(sitting, factor, [one for one in wanted.offers if one.factor == factor])
            self._invocation.out.note(say("Passed: {factor}", factor=factor_name(factor)))

    def _way(self, sitting: "FactorSitting", wanted: "Wanted") -> Sequence[str]:
        """Which factors: those that were given, else what a person chooses."""
        offered = {one.factor for one in wanted.offers}
        possible = [way for way in wanted.ways if set(way) <= offered] or list(wanted.ways)
        whole = next((way for way in possible if set(way) <= self._given.keys()), None)
        if whole is not None:
            return whole
        fitting = [way for way in possible if self._given.keys() <= set(way)] or possible
        if not self._invocation.can_ask:
            raise self._input_required(sitting.authority, fitting)
        if len(fitting) == 1:
            return fitting[0]
        rows = [[" + ".join(map(factor_name, way))] for way in fitting]
        question = N_("How do you want to identify yourself")
        return fitting[self._invocation.choose(question, [N_("Factors")], rows, option="--factor FACTOR=SRC")]

    def _input_required(self, authority: str, ways: "Sequence[Sequence[str]]") -> InputRequired:
        """One error that names the flags of each way, and the command that has them."""
        flags = _(" or ").join(
            " ".join(f"--factor {factor}" if factor == CALL else f"--factor {factor}=SRC" for factor in way)
            for way in ways
            if set(way) - self._given.keys()
        )
        what = Phrase("What {authority} asks for before it issues", authority=authority)
        if self._invocation.flags.factors is not None:
            return InputRequired(what=what, option=flags)
        by_hand = Phrase("Renew it by hand: dojang renew now ADDRESS, with {option}.", option=flags)
        return InputRequired(what=what, option=flags, next_step=by_hand)

    def _pass(self, sitting: "FactorSitting", factor: str, offers: "Sequence[Offer]") -> None:
        given = self._given.get(factor)
        device = self._device(factor, offers, given)
        prepared = sitting.prepare(factor, device)
        if factor == CALL:
            self._await_call(sitting, prepared)
            return
        while True:
            self._tell(prepared)
            code = self._code(factor, given)
            if not len(code) and factor in _MESSAGES and given is None:
                prepared = self._sent_again(sitting, factor, device) or prepared
                continue
            outcome = sitting.answer(factor, code, device)
            if outcome.state == "passed":
                return
            error = _refused(sitting.authority, factor, outcome)
            if outcome.state != "wrong" or not self._is_asked(given):
                raise error
            self._invocation.out.note(say("That was not it: {problem}.", problem=error.facts["problem"]))

    def _sent_again(self, sitting: "FactorSitting", factor: str, device: str | None) -> "Prepared | None":
        """Another code on its way; the one before still works where there cannot be another now."""
        try:
            return sitting.prepare(factor, device)
        except FactorUnavailable as error:
            self._invocation.out.note(f"{message_of(error)} {advice_of(error)}")
            return None

    def _device(self, factor: str, offers: "Sequence[Offer]", given: Given | None) -> str | None:
        """The one that was named, or chosen where the applicant has several."""
        if given is not None and given.device is not None:
            return given.device
        if len(offers) < 2:
            return None
        if not self._invocation.can_ask:
            named = _(" or ").join(f"--factor {factor}:{one.device}=SRC ({one.shown})" for one in offers)
            raise InputRequired(what=_("Which device"), option=named)
        rows = [[one.shown, one.device] for one in offers]
        chosen = self._invocation.choose(
            N_("Which device"), [N_("Name"), N_("Id")], rows, option=f"--factor {factor}:DEVICE=SRC"
        )
        return offers[chosen].device

    def _tell(self, prepared: "Prepared") -> None:
        """What has to be known to answer: also with --quiet, but for what can be guessed."""
        note, request = self._invocation.out.note, self._invocation.out.request
        if prepared.places is not None:
            first, second = prepared.places
            text = N_("Security card {card}: [{first}] first two digits, [{second}] last two digits")
            request(say(text, card=prepared.shown, first=first, second=second))
        elif prepared.seconds is not None:
            text = N_("A code was sent to {target}; it works for {seconds} seconds.")
            note(say(text, target=prepared.shown, seconds=prepared.seconds))
        elif prepared.digits is not None:
            request(say("Type this into {device}: {digits}", device=prepared.shown, digits=prepared.digits))

    def _is_asked(self, given: Given | None) -> bool:
        """Whether a person types it, and may have mistyped it."""
        return self._invocation.can_ask and (given is None or given.source == "prompt")

    def _code(self, factor: str, given: Given | None) -> "Secret":
        if given is not None and given.seed is not None:
            return self._code_of(given.seed)
        if given is None and factor == "otp" and (found := self._code_here()) is not None:
            return found
        source = "prompt" if given is None else given.source or "prompt"
        return self._invocation.secrets.factor(source, factor, _question(factor, is_sent=given is None))

    def _code_here(self) -> "Secret | None":
        """That of a seed where the new key goes, or on what is plugged in, if a person wants it."""
        from dojang.cli.factor_seeds import at_hand, code_behind

        seeds, locked = at_hand(self._invocation, self._here)
        rows = [[one.name, one.address] for one in seeds] + [[_("behind a password"), one] for one in locked]
        if not rows:
            return None
        columns, rows = [N_("Seed"), N_("Address")], [*rows, [_("another device, whose code is typed"), ""]]
        chosen = self._invocation.choose(N_("Whose code"), columns, rows, option="--factor otp=ADDRESS")
        if chosen < len(seeds):
            return self._code_of(seeds[chosen].address)
        return code_behind(self._invocation, rows[chosen][1]) if chosen < len(rows) - 1 else None

    def _code_of(self, seed: str) -> "Secret":
        from dojang.cli.factor_seeds import code_of

        return code_of(self._invocation, seed)

    def _await_call(self, sitting: "FactorSitting", prepared: "Prepared") -> None:
        """The digits are pressed in the call; here they are shown, and asked whether they were."""
        if prepared.digits is None:
            problem, again = Phrase("the digits to be pressed were lost on the way"), N_("Run the same command again.")
            raise FactorUnavailable(authority=sitting.authority, factor=CALL, problem=problem, next_step=again)
        text = N_("{target} is being called. Press these digits in the call: {digits}")
        self._invocation.out.request(say(text, target=prepared.shown, digits=prepared.digits))
        until = time.monotonic() + min(prepared.seconds or 0, _LONGEST_CALL)
        while (outcome := sitting.answer(CALL)).state == "waiting" and time.monotonic() < until:
            time.sleep(_LOOK_AGAIN)
        if outcome.state != "passed":
            raise _refused(sitting.authority, CALL, outcome)


def _question(factor: str, *, is_sent: bool) -> str:
    if factor in _MESSAGES and is_sent:
        return say("The code from the {factor} (nothing: send another one)", factor=factor_name(factor))
    return say("The code for {factor}", factor=factor_name(factor))


def _refused(authority: str, factor: str, outcome: "Outcome") -> FactorRefused | FactorUnavailable:
    if outcome.state in _WHY:
        problem = Phrase(_WHY[outcome.state])
        return FactorUnavailable(authority=authority, factor=factor, problem=problem, next_step=_next(outcome))
    problem = Phrase("it is wrong")
    if outcome.left is not None:
        problem = Phrase("it is wrong; tries left: {left}", left=outcome.left)
    return FactorRefused(authority=authority, factor=factor, problem=problem, left=outcome.left)


def _next(outcome: "Outcome") -> str:
    return N_("Ask the office to unlock it.") if outcome.state == "locked" else N_("Run the same command again.")
