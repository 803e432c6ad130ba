"""Containers of seeds (RFC 6030, PSKC), as they are read: HOTP, TOTP and OCRA keys, encrypted or in plain.

    container = read_container(document, "seeds.xml")
    opened = container.open(key)                      # every MAC is checked; TransportKeyWrong
    for key in opened: …                              # ``key.wrapped`` for an HSM, or ``key.seed()`` in memory

A container may hold what this does not read (a PIN for a device, say); such keys are left out and told of. A policy
that is not understood forbids the use of its key (RFC 6030, 5). Signatures of containers are not verified.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dojang.errors import FileMalformed, InvalidOtp, Phrase, TransportKeyWrong
from dojang.otp.parameters import OtpParameters
from dojang.otp.pskc.protection import (
    MACS,
    Cipher,
    Derivation,
    KeyRefused,
    check_mac,
    cipher_in,
    derivation_in,
    key_in,
    number_in,
    octets_in,
)
from dojang.otp.pskc.xml import Element, XmlRefused, parse

if TYPE_CHECKING:
    from dojang.secret import Secret

SPACE: Final = "urn:ietf:params:xml:ns:keyprov:pskc"
ALGORITHMS: Final = {f"{SPACE}:{kind}": kind for kind in ("hotp", "totp", "ocra")}
_PIN: Final = f"{SPACE}:pin"
_USES: Final = {"hotp": "OTP", "totp": "OTP", "ocra": "CR"}
_POLICY: Final = frozenset({"StartDate", "ExpiryDate", "PINPolicy", "KeyUsage", "NumberOfTransactions"})
_SUITES: Final = {"SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512"}
"""What ``Suite`` names for TOTP, with or without ``HMAC-`` and hyphens."""
_LONGEST: Final = 255
_MOST_PACKAGES: Final = 250_000
FARTHEST: Final = 1 << 20
"""No clock of a device is so many steps off: a year of half minutes."""


@dataclass(frozen=True, slots=True)
class PskcKey:
    """One key: whose it is, how its codes are computed, and its seed, encrypted or, in some containers, in plain."""

    id: str
    parameters: OtpParameters
    counter: int = 0
    drift: int = 0
    serial: str = ""
    manufacturer: str = ""
    user: str = ""
    cipher: Cipher | None = field(default=None, repr=False)
    mac: bytes | None = field(default=None, repr=False)
    plain: bytes | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What people call it: the number on the device, or else the name of the key."""
        return self.serial or self.id


@dataclass(frozen=True, slots=True)
class OpenKey:
    """A key of an opened container. Its MAC is right."""

    key: PskcKey
    transport_key: bytes = field(repr=False)

    @property
    def wrapped(self) -> tuple[bytes, bytes, str] | None:
        """What an HSM unwraps itself: the seed, the key it is wrapped under, and how (``kw``, ``kwp``)."""
        cipher = self.key.cipher
        if cipher is None or cipher.way == "cbc":
            return None
        return cipher.data, self.transport_key, cipher.way

    def seed(self) -> bytearray:
        """The seed, in memory of this process; whoever takes it overwrites it. ``KeyRefused``."""
        cipher = self.key.cipher
        return bytearray(self.key.plain or b"") if cipher is None else cipher.decrypted(self.transport_key)


@dataclass(frozen=True, slots=True)
class Container:
    """What was read; nothing of it is decrypted yet. ``left_out`` are ids of keys that are not for codes."""

    path: str
    keys: tuple[PskcKey, ...]
    left_out: tuple[str, ...] = ()
    derivation: Derivation | None = None
    mac_hash: str = ""
    mac_key: Cipher | None = field(default=None, repr=False)
    is_signed: bool = False

    @property
    def is_encrypted(self) -> bool:
        return any(key.cipher is not None for key in self.keys)

    @property
    def wants_password(self) -> bool:
        """Whether it opens with a password, and not with a key."""
        return self.derivation is not None

    def open(self, given: "Secret | None") -> tuple[OpenKey, ...]:
        """Every key, after all MACs were checked. ``TransportKeyWrong``; for what is plain, nothing need be given."""
        if not self.is_encrypted:
            return tuple(OpenKey(key, b"") for key in self.keys)
        try:
            if given is None:
                raise KeyRefused(Phrase("none was given"))
            transport = key_in(given) if self.derivation is None else self.derivation.key(given)
            self._check(transport)
        except KeyRefused as error:
            raise TransportKeyWrong(path=self.path, problem=error.problem) from None
        return tuple(OpenKey(key, transport) for key in self.keys)

    def _check(self, transport: bytes) -> None:
        mac_key = bytes(self.mac_key.decrypted(transport)) if self.mac_key and self.mac_hash else transport
        for key in self.keys:
            if key.cipher is not None:
                key.cipher.check_key(transport)
                if key.mac is not None:
                    check_mac(self.mac_hash, mac_key, key.cipher, key.mac)


def read_container(document: bytes, path: str) -> Container:
    """Read one; ``FileMalformed`` for everything that is none, or is not safe to read."""
    packages = _Packages()
    try:
        return _container(parse(document, "KeyPackage", packages.take), packages, path)
    except XmlRefused as error:
        raise FileMalformed(path=path, expected=Phrase("a PSKC container"), problem=error.problem) from None


class _Packages:
    """The keys of a container, as they are read one after the other."""

    def __init__(self) -> None:
        self.keys: list[PskcKey] = []
        self.left_out: list[str] = []

    def take(self, package: Element) -> None:
        if len(self.keys) + len(self.left_out) >= _MOST_PACKAGES:
            raise XmlRefused(Phrase("it has more than {limit} keys", limit=_MOST_PACKAGES))
        element = package.maybe("Key")
        if element is None or element.attributes.get("Algorithm") == _PIN or element.find("Data", "Secret") is None:
            self.left_out.append("" if element is None else _line(element.attributes.get("Id", "")))
        else:
            self.keys.append(_key(package, element))


def _container(root: Element, packages: _Packages, path: str) -> Container:
    if (root.space, root.name) != (SPACE, "KeyContainer") or root.attributes.get("Version") != "1.0":
        raise XmlRefused(Phrase("it is no key container of version 1.0"))
    encryption, mac_method = root.maybe("EncryptionKey"), root.maybe("MACMethod")
    named = "" if mac_method is None else mac_method.attributes.get("Algorithm", "")
    mac_hash = MACS.get(named, "")
    if named and not mac_hash:
        raise XmlRefused(Phrase("its checksums are of a kind that is not known here"))
    mac_key = None if mac_method is None else mac_method.maybe("MACKey")
    _refuse_mixed(packages.keys, mac_hash)
    _refuse_twins(packages.keys)
    return Container(
        path=path,
        keys=tuple(packages.keys),
        left_out=tuple(packages.left_out),
        derivation=None if encryption is None else derivation_in(encryption),
        mac_hash=mac_hash,
        mac_key=None if mac_key is None else cipher_in(mac_key),
        is_signed=root.maybe("Signature") is not None,
    )


def _key(package: Element, element: Element) -> PskcKey:
    kind = ALGORITHMS.get(element.attributes.get("Algorithm", ""))
    if kind is None:
        raise XmlRefused(Phrase("a key is for something else than HOTP, TOTP or OCRA"))
    data, key_id = element.one("Data"), _line(element.attributes.get("Id", ""))
    _check_policy(element, kind)
    cipher, mac, plain = _secret(data.one("Secret"))
    if not key_id:
        raise XmlRefused(Phrase("a key has no Id"))
    return PskcKey(
        id=key_id,
        parameters=_parameters(element, data, kind),
        counter=_number(data, "Counter"),
        drift=_drift(data),
        serial=_line(package.said("DeviceInfo", "SerialNo")),
        manufacturer=_line(package.said("DeviceInfo", "Manufacturer")),
        user=_line(element.said("UserId") or package.said("DeviceInfo", "UserId")),
        cipher=cipher,
        mac=mac,
        plain=plain,
    )


def _secret(secret: Element) -> tuple[Cipher | None, bytes | None, bytes | None]:
    encrypted, plain = secret.maybe("EncryptedValue"), secret.maybe("PlainValue")
    if (encrypted is None) == (plain is None):
        raise XmlRefused(Phrase("a key has no secret, or two"))
    if encrypted is None:
        assert plain is not None
        return None, None, octets_in(plain)
    cipher, mac = cipher_in(encrypted), secret.maybe("ValueMAC")
    if mac is None and cipher.way == "cbc":
        raise XmlRefused(Phrase("a key is encrypted without a checksum"))
    return cipher, None if mac is None else octets_in(mac), None


def _parameters(element: Element, data: Element, kind: str) -> OtpParameters:
    told = element.maybe("AlgorithmParameters")
    response = None if told is None else told.maybe("ResponseFormat")
    suite = "" if told is None else told.said("Suite")
    said = {} if response is None else response.attributes
    if said.get("Encoding", "DECIMAL") != "DECIMAL" or said.get("CheckDigits", "false") not in ("false", "0"):
        raise XmlRefused(Phrase("a key gives codes that are no plain digits"))
    hash_name = _SUITES.get(suite.upper().replace("-", "").removeprefix("HMAC")) if suite else "sha1"
    if kind != "ocra" and hash_name is None:
        raise XmlRefused(Phrase("a key names a hash that is not known here"))
    try:
        return OtpParameters(
            kind=kind,
            hash_name="sha1" if kind == "ocra" or hash_name is None else hash_name,
            digits=number_in(said.get("Length", "6")),
            period=_number(data, "TimeInterval", 30),
            suite=suite if kind == "ocra" else None,
            issuer=_line(element.said("Issuer")),
            account=_line(element.said("FriendlyName")),
        )
    except InvalidOtp as error:
        problem = error.facts["problem"]
        raise XmlRefused(problem if isinstance(problem, Phrase) else Phrase(str(problem))) from None


def _number(data: Element, name: str, usual: int = 0) -> int:
    text = _value(data, name)
    return usual if text is None else number_in(text)


def _drift(data: Element) -> int:
    """How many steps the clock of the device was ahead when the file was made; behind, where it is negative."""
    text = _value(data, "TimeDrift")
    if text is None:
        return 0
    steps = number_in(text.removeprefix("-"))
    if steps > FARTHEST:
        raise XmlRefused(Phrase("the clock of a device is too far off"))
    return -steps if text.startswith("-") else steps


def _value(data: Element, name: str) -> str | None:
    found = data.maybe(name)
    if found is None:
        return None
    if found.maybe("EncryptedValue") is not None:
        raise XmlRefused(Phrase("{name} is encrypted, which is not read", name=name))
    return found.one("PlainValue").text


def _check_policy(element: Element, kind: str) -> None:
    """What is said and not understood forbids the use (RFC 6030, 5); a PIN is the device's own affair."""
    policy = element.maybe("Policy")
    if policy is None:
        return
    unknown = {child.name for child in policy.children} - _POLICY
    uses = {child.text for child in policy.all("KeyUsage")}
    if unknown or (uses and _USES[kind] not in uses):
        raise XmlRefused(Phrase("a policy forbids to use a key, or is not understood"))


def _refuse_mixed(keys: Iterable[PskcKey], mac_hash: str) -> None:
    """Whoever has not the key of a container can put seeds of his own into it in plain only."""
    if len({key.cipher is None for key in keys}) > 1:
        raise XmlRefused(Phrase("some keys in it are encrypted and others are not"))
    if not mac_hash and any(key.mac is not None for key in keys):
        raise XmlRefused(Phrase("there are checksums, and nothing says of which kind"))


def _refuse_twins(keys: Iterable[PskcKey]) -> None:
    seen: set[tuple[str, str]] = set()
    for key in keys:
        mark = (key.manufacturer, key.id)
        if mark in seen:
            raise XmlRefused(Phrase("two keys have one Id"))
        seen.add(mark)


def _line(text: str) -> str:
    line = " ".join(text.split())
    if len(line) > _LONGEST or not (line.isprintable() or not line):
        raise XmlRefused(Phrase("a name in it is too long, or holds what cannot be printed"))
    return line
