"""Names of a subject besides its distinguished name (RFC 5280 section 4.2.1.6), written ``dns:www.example.kr``.

Four kinds are written: ``dns``, ``ip``, ``email`` and ``uri``. Other alphabets go in their ASCII form (``xn--…``).
A name with ``*`` is none: RFC 5280 does not define it, and one leaked key would speak for every host.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable

from cryptography import x509

from dojang.errors import Phrase, Usage

_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_DNS = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_EMAIL = re.compile(rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-\[\]_a-z~]{1,2000}")


def parse_alternative_names(texts: Iterable[str]) -> x509.SubjectAlternativeName | None:
    """The extension for these names, ``None`` for none. Raises ``Usage``."""
    names = list(dict.fromkeys(_parse(text) for text in texts))
    return x509.SubjectAlternativeName(names) if names else None


def format_alternative_names(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    """``dns:…``, ``ip:…``, ``email:…``, ``uri:…``; anything else as ``other:``."""
    return tuple(f"{kind_of(name)}:{name.value}" if kind_of(name) != "other" else "other:" for name in names)


def alternative_names_of(source: x509.Certificate | x509.CertificateSigningRequest) -> tuple[x509.GeneralName, ...]:
    """The names in a certificate or the names that a request asks for."""
    try:
        return tuple(source.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def kind_of(name: x509.GeneralName) -> str:
    """``dns``, ``ip``, ``email``, ``uri`` or ``other``."""
    return next((kind for kind, (known, _) in _KINDS.items() if isinstance(name, known)), "other")


def is_well_formed(name: x509.GeneralName) -> bool:
    """Whether a name from somewhere else is one that we would have written ourselves."""
    try:
        return _parse(f"{kind_of(name)}:{name.value}") == name
    except Usage:
        return False


def _parse(text: str) -> x509.GeneralName:
    kind, colon, value = text.partition(":")
    known = _KINDS.get(kind.strip().lower())
    try:
        if known is None or not colon or len(value) > 2048:
            raise ValueError
        return known[1](value.strip())
    except ValueError as error:
        problem = Phrase(
            "'{name}' is not an alternative name; write dns:NAME, ip:ADDRESS, email:ADDRESS", name=text[:80]
        )
        raise Usage(problem=problem) from error


def _dns(value: str) -> x509.GeneralName:
    return x509.DNSName(_matching(_DNS, value))


def _email(value: str) -> x509.GeneralName:
    return x509.RFC822Name(_matching(_EMAIL, value))


def _uri(value: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(_matching(_URI, value))


def _ip(value: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(value))


def _matching(pattern: re.Pattern[str], value: str) -> str:
    if not pattern.fullmatch(value):
        raise ValueError
    return value


_KINDS: dict[str, tuple[type[x509.GeneralName], Callable[[str], x509.GeneralName]]] = {
    "dns": (x509.DNSName, _dns),
    "ip": (x509.IPAddress, _ip),
    "email": (x509.RFC822Name, _email),
    "uri": (x509.UniformResourceIdentifier, _uri),
}
