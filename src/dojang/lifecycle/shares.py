"""A key split into shares of which some number makes it again: SLIP-39, in words that can be written down.

Fewer shares than that say nothing of the key. The mathematics is the library's (``shamir-mnemonic``, the extra
``custody``); here is what a person has to be told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dojang.errors import NotPermitted, Phrase, SharesUnusable, UnsupportedOperation
from dojang.secret import Secret

if TYPE_CHECKING:
    from types import ModuleType

MOST_SHARES: Final = 16
FEWEST: Final = 2
_KEY_BYTES: Final = (16, 24, 32)
# Each step doubles the work of joining; without a passphrase it protects nothing, and a share may come from anybody.
_MOST_WORK: Final = 4


@dataclass(frozen=True, slots=True)
class Share:
    """One custodian's part: its number, of how many, how many make the key, and the words."""

    number: int
    shares: int
    threshold: int
    words: Secret = field(repr=False)


def split_value(value: bytes, shares: int, threshold: int) -> list[Share]:
    """The shares of a key. ``NotPermitted`` for numbers that make no sense, before anything is made."""
    check_numbers(shares, threshold)
    library = _library()
    (mnemonics,) = library.generate_mnemonics(1, [(threshold, shares)], value, iteration_exponent=0)
    made = [Share(number, shares, threshold, Secret(words)) for number, words in enumerate(mnemonics, start=1)]
    assert join_value([one.words for one in made[-threshold:]]) == value, "the shares do not make the key"
    return made


def check_numbers(shares: int, threshold: int) -> None:
    """One share that is the key, or a key that no custodians can make, protects nobody."""
    if not FEWEST <= threshold <= shares <= MOST_SHARES:
        raise NotPermitted(
            problem=Phrase("{threshold} of {shares} shares cannot be made", threshold=threshold, shares=shares),
            remedy=Phrase(
                "Take from {fewest} to {most} shares, at least two of which make the key.",
                fewest=FEWEST,
                most=MOST_SHARES,
            ),
        )
    _library()


def join_value(shares: Sequence[Secret]) -> bytes:
    """The key that the shares make. ``SharesUnusable`` says what is wrong with them: which one is mistyped, that they
    belong to different keys, that one was given twice, how many are missing.
    """
    library = _library()
    read = _read_all(library, shares)
    threshold = read[0].member_threshold
    if len(read) < threshold:
        raise _unusable(
            Phrase("{given} of {threshold} are there", given=len(read), threshold=threshold),
            Phrase("Bring {missing} more; any of the same set will do.", missing=threshold - len(read)),
        )
    try:
        value: bytes = library.combine_mnemonics(one.mnemonic() for one in read[:threshold])
    except library.MnemonicError:
        raise _other_set() from None
    if len(value) not in _KEY_BYTES:
        raise _unusable(Phrase("what they make is no AES key"), Phrase("Take the shares of a wrapping key."))
    return value


def how_many_missing(shares: Sequence[Secret]) -> int:
    """How many more the key needs; ``SharesUnusable`` as ``join_value`` where these do not go together."""
    read = _read_all(_library(), shares)
    return max(0, int(read[0].member_threshold) - len(read))


def _read_all(library: "ModuleType", shares: Sequence[Secret]) -> list[Any]:
    read = [_read(library, number, one) for number, one in enumerate(shares, start=1)]
    if not read:
        raise _unusable(Phrase("none was given"), Phrase("Give the shares of as many custodians as the key needs."))
    _refuse_mixed(read)
    _refuse_twice(read)
    return read


def _read(library: "ModuleType", number: int, words: Secret) -> Any:
    """One share; the library's own message would repeat words of it."""
    try:
        share = library.Share.from_mnemonic(" ".join(words.reveal().decode().split()))
    except (library.MnemonicError, UnicodeDecodeError):
        raise _unusable(
            Phrase("number {number} of those given is mistyped or damaged", number=number),
            Phrase("Compare every word with what the custodian has; each share has a checksum of its own."),
        ) from None
    if share.group_count != 1 or share.iteration_exponent > _MOST_WORK:
        raise _unusable(
            Phrase("number {number} of those given was made by another program", number=number),
            Phrase("Take shares that 'dojang key custody split' made."),
        )
    return share


def _refuse_mixed(read: Sequence[Any]) -> None:
    if len({(one.identifier, one.member_threshold, len(one.value)) for one in read}) > 1:
        raise _other_set()


def _refuse_twice(read: Sequence[Any]) -> None:
    seen: dict[int, int] = {}
    for number, one in enumerate(read, start=1):
        if one.index in seen:
            raise _unusable(
                Phrase(
                    "number {number} of those given is the same as number {other}", number=number, other=seen[one.index]
                ),
                Phrase("Give each share once."),
            )
        seen[one.index] = number


def _other_set() -> SharesUnusable:
    return _unusable(
        Phrase("they belong to different keys"),
        Phrase("Take shares of one set: the check value that stands on each of them is the same."),
    )


def _unusable(problem: Phrase, remedy: Phrase) -> SharesUnusable:
    return SharesUnusable(problem=problem, remedy=remedy)


def _library() -> "ModuleType":
    try:
        import shamir_mnemonic
    except ImportError as error:
        raise UnsupportedOperation(
            where="dojang",
            operation=Phrase("split keys without the package shamir-mnemonic"),
            next_step="Install it: pip install 'dojang[custody]'",
        ) from error
    return shamir_mnemonic  # type: ignore[no-any-return]
