"""The codes of a card: drawn by the HSM, sealed one by one, and what of two of them is the answer.

Each code is sealed for itself, bound to the number of its card and to its place there. So an answer is checked without
the rest of the card being opened, and no code can be put in the place of another. The key does nothing but seal cards:
under the key that wraps seeds, whoever may open a card could open a seed as if it were one.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

CODE_DIGITS: Final = 4
NUMBER_DIGITS: Final = 12
SEALED_BYTES: Final = 12 + CODE_DIGITS + 16
_BOUND_TO: Final = b"dojang security card 1\0"
_DRAWN_BYTES: Final = 2
_DRAWN: Final = 1 << (8 * _DRAWN_BYTES)

Random = Callable[[int], bytes]
"""So many random bytes, from the HSM."""


class Sealer(Protocol):
    """A key in the HSM that seals data bound to something else (AES-GCM), and the HSM's generator."""

    def random(self, count: int) -> bytes: ...

    def seal(self, plain: Sequence[tuple[bytes, bytes]]) -> list[bytes]: ...

    def open(self, sealed: Sequence[tuple[bytes, bytes]]) -> list[bytes]: ...


def draw(random: Random, below: int, count: int) -> list[int]:
    """So many numbers, each as likely as any other below ``below``: what would make some likelier is drawn again."""
    fair = _DRAWN - _DRAWN % below
    drawn: list[int] = []
    while len(drawn) < count:
        raw = random(_DRAWN_BYTES * (count - len(drawn)))
        numbers = (int.from_bytes(raw[at : at + _DRAWN_BYTES], "big") for at in range(0, len(raw), _DRAWN_BYTES))
        drawn += [number % below for number in numbers if number < fair]
    return drawn


def new_number(random: Random) -> str:
    """The number of a new card: digits alone, and never a zero at its head, which people leave out."""
    first, *rest = draw(random, 9, 1) + draw(random, 10, NUMBER_DIGITS - 1)
    return f"{first + 1}{''.join(map(str, rest))}"


def new_codes(random: Random, count: int) -> list[str]:
    return [f"{number:0{CODE_DIGITS}d}" for number in draw(random, 10**CODE_DIGITS, count)]


def new_pair(random: Random, entries: int) -> tuple[int, int]:
    """Two places on a card, counted from one, never the same."""
    (first,), (step,) = draw(random, entries, 1), draw(random, entries - 1, 1)
    return first + 1, (first + 1 + step) % entries + 1


def sealed_codes(sealer: Sealer, number: str, codes: Sequence[str]) -> bytes:
    """All codes of a card, sealed one after the other."""
    return b"".join(sealer.seal([(code.encode(), bound_to(number, at)) for at, code in enumerate(codes, start=1)]))


def answer_of(sealer: Sealer, number: str, sealed: bytes, first: int, second: int) -> bytes:
    """What is right: the first two digits of one code and the last two of another. Nothing else is opened."""
    wanted = [(_part(sealed, at), bound_to(number, at)) for at in (first, second)]
    one, other = sealer.open(wanted)
    return one[:2] + other[2:]


def sealed_anew(old: Sealer, new: Sealer, number: str, sealed: bytes) -> bytes:
    """The same codes under another key."""
    places = range(1, len(sealed) // SEALED_BYTES + 1)
    bound = [bound_to(number, at) for at in places]
    opened = old.open([(_part(sealed, at), to) for at, to in zip(places, bound, strict=True)])
    return b"".join(new.seal(list(zip(opened, bound, strict=True))))


def bound_to(number: str, at: int) -> bytes:
    """What the code at one place of a card is bound to."""
    return _BOUND_TO + f"{number}/{at}".encode()


def _part(sealed: bytes, at: int) -> bytes:
    return sealed[(at - 1) * SEALED_BYTES : at * SEALED_BYTES]
