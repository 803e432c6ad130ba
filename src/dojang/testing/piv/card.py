"""A PIV card in the hand: what is put on it, in and out of readers, and its counters."""

from collections.abc import Mapping
from typing import Final

from dojang.testing.piv import objects
from dojang.testing.piv.admin import TRIPLE_DES, ManagementKey
from dojang.testing.piv.application import Application, Slot
from dojang.testing.piv.keys import SoftwareKey, adopt
from dojang.testing.piv.reference import LENGTH, ReferenceData
from dojang.testing.piv.tlv import parse
from dojang.testing.piv.vpcd import Plug

PIN: Final = "123456"
PUK: Final = "12345678"
MANAGEMENT_KEY: Final = bytes.fromhex("010203040506070801020304050607080102030405060708")
HOLDER: Final = "Card Holder"
ATR: Final = bytes.fromhex("3B8601646F6A616E678E")  # T=1, historical bytes "dojang"

KEYS: Final[Mapping[Slot, str]] = {
    Slot.AUTHENTICATION: "rsa-2048",
    Slot.SIGNATURE: "ec-p256",
    Slot.KEY_MANAGEMENT: "rsa-2048",
    Slot.CARD_AUTHENTICATION: "ec-p256",
}


class Card(Application):
    """A PIV card: lives as long as this object, in a reader or out of it. A context manager that removes it at the end.

    The PIN guards 9A, 9C and 9D; 9C wants it again for every signature; 9E is free. Changing keys and objects takes
    the management key. ``pin`` and ``puk`` have the counters, ``uses`` every use of a private key, ``faults`` what is
    to go wrong.
    """

    def __init__(
        self,
        *,
        keys: Mapping[Slot, str | SoftwareKey] = KEYS,
        pin: str = PIN,
        puk: str = PUK,
        tries: int = 3,
        management_key: bytes = MANAGEMENT_KEY,
        management_algorithm: int = TRIPLE_DES,
        holder: str = HOLDER,
        guid: bytes | None = None,
    ) -> None:
        """``keys`` says which slots have a key: ``rsa-2048`` or ``ec-p256`` for a new one, or one of ``cryptography``.

        Each gets a self-signed certificate that names the ``holder``. OpenSC shows that of 9A as the token's label, and
        the end of the GUID as its serial.
        """
        super().__init__(
            guid or objects.new_guid(),
            ReferenceData(pin, tries=tries, digits_only=True, shortest=6),
            ReferenceData(puk, tries=tries, digits_only=False, shortest=LENGTH),
            ManagementKey(management_key, management_algorithm),
        )
        self._plug: Plug | None = None
        for slot, key in keys.items():
            self.keys[slot] = adopt(key)
            self.put_certificate(slot, objects.self_signed(self.keys[slot], holder, objects.SLOT_NAMES[slot]))

    # In and out of readers

    @property
    def atr(self) -> bytes:
        return ATR

    def __enter__(self) -> "Card":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def insert(self, port: int) -> None:
        """Put the card into the vpcd reader at this port; returns when the reader has powered it."""
        self.remove()
        self._plug = Plug(self, port)
        self._plug.push()

    def remove(self) -> None:
        """Pull the card out. The reader notices at its next look, within half a second."""
        if self._plug is not None:
            self._plug.pull()
            self._plug = None

    @property
    def inserted(self) -> bool:
        """Whether a reader holds it; not so after a fault pulled it or the daemon of its reader ended."""
        return self._plug is not None and self._plug.holds

    # What others count

    @property
    def tries_left(self) -> int:
        return self.pin.tries_left

    @property
    def puk_tries_left(self) -> int:
        return self.puk.tries_left

    @property
    def verifications(self) -> int:
        """How often a PIN was compared, right or wrong; asking for the counter is none."""
        return self.pin.presented

    @property
    def signatures(self) -> int:
        """How often a private key was used."""
        return len(self.uses)

    # What is on it

    def put_certificate(self, slot: int, der: bytes) -> None:
        """Store a certificate beside a key, as whoever personalises cards does; nothing is checked."""
        self.objects[objects.CERTIFICATE[slot]] = objects.certificate_object(der)

    def change_management_key(self, key: bytes, algorithm: int = TRIPLE_DES) -> None:
        """As its owner did some day, with the maker's program."""
        self._management = ManagementKey(key, algorithm)

    def certificate(self, slot: int) -> bytes:
        """The certificate of a slot, DER."""
        return parse(self.objects[objects.CERTIFICATE[slot]])[0x70]
