"""A secret a person knows: a PIN or a password. Its value shows only where it is asked for by name."""

from typing import NoReturn, final


@final
class Secret:
    """Hides its value from ``repr``, ``str``, comparison timing and pickling.

    ``reveal()`` gives the bytes; call it where they are handed to a device or a key derivation, and nowhere else.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str | bytes) -> None:
        """Hold ``value``; text is encoded as UTF-8."""
        self._value = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        import hmac

        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> NoReturn:
        raise TypeError("a secret is not hashable")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")
