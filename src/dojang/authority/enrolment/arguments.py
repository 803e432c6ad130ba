"""The arguments of an order, as JSON brought them: each is taken by its name and kind, and none may be left over."""

from collections.abc import Collection, Mapping
from typing import Any, Final, NoReturn

from dojang.authority.enrolment.records import PAGE
from dojang.errors import Phrase, Usage
from dojang.secret import Secret

_LONGEST: Final = 4096
_MOST: Final = 100
_LONGEST_PAGE: Final = 1000


class Arguments:
    """Every method takes one argument and raises ``Usage`` when it is not of that kind. ``None`` is not given."""

    def __init__(self, given: Mapping[str, Any], evidence: bytes | None = None) -> None:
        self._given = {name: value for name, value in given.items() if value is not None}
        self._taken: set[str] = set()
        self.evidence = evidence

    def maybe_text(self, name: str) -> str | None:
        self._taken.add(name)
        value = self._given.get(name)
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()):
            self._refuse(name)
        return value

    def text(self, name: str) -> str:
        return self.maybe_text(name) or self._refuse(name)

    def one_of(self, name: str, known: Collection[str]) -> str:
        value = self.text(name)
        return value if value in known else self._refuse(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list, empty when it is not given."""
        self._taken.add(name)
        value = self._given.get(name, [])
        fits = isinstance(value, list | tuple) and len(value) <= _MOST
        if not fits or not all(isinstance(one, str) and 0 < len(one) <= _LONGEST for one in value):
            self._refuse(name)
        return tuple(value)

    def maybe_secret(self, name: str) -> Secret | None:
        self._taken.add(name)
        value = self._given.get(name)
        return value if value is None or isinstance(value, Secret) else Secret(self.text(name))

    def maybe_number(self, name: str) -> int | None:
        self._taken.add(name)
        value = self._given.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self._refuse(name)
        return value

    def number(self, name: str, smallest: int, largest: int, usual: int) -> int:
        value = self.maybe_number(name)
        if value is not None and not smallest <= value <= largest:
            self._refuse(name)
        return usual if value is None else value

    def page(self) -> tuple[str | None, int]:
        """Which page of a list: after which entry it begins, and how many entries it has at most."""
        return self.maybe_text("after"), self.number("limit", 1, _LONGEST_PAGE, PAGE)

    def switch(self, name: str) -> bool:
        self._taken.add(name)
        value = self._given.get(name, False)
        return value if isinstance(value, bool) else self._refuse(name)

    def octets(self, name: str, length: int | None = None) -> bytes:
        """Bytes in hex; exactly ``length`` of them."""
        self._taken.add(name)
        value = self._given.get(name)
        try:
            found = bytes.fromhex(value) if isinstance(value, str) else self._refuse(name)
        except ValueError:
            self._refuse(name)
        return found if length is None or len(found) == length else self._refuse(name)

    def finish(self) -> None:
        """Refuse what nobody took."""
        for name in self._given.keys() - self._taken:
            self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        raise Usage(problem=Phrase("the argument '{name}' is missing or cannot be used", name=name[:64]))
