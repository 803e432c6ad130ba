"""The test vectors of RFC 4226 (appendix D), RFC 6238 (appendix B) and RFC 6287 (appendix C), as they are printed."""

from datetime import UTC, datetime
from typing import Final, NamedTuple

from dojang.otp.ocra import Suite

SEED_20: Final = b"12345678901234567890"
SEED_32: Final = b"12345678901234567890123456789012"
SEED_64: Final = b"1234567890" * 6 + b"1234"
SEEDS: Final = {"sha1": SEED_20, "sha256": SEED_32, "sha512": SEED_64}

HOTP: Final = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
"""The codes of SEED_20 for the counters 0 to 9."""

TOTP: Final = [
    (59, {"sha1": "94287082", "sha256": "46119246", "sha512": "90693936"}),
    (1111111109, {"sha1": "07081804", "sha256": "68084774", "sha512": "25091201"}),
    (1111111111, {"sha1": "14050471", "sha256": "67062674", "sha512": "99943326"}),
    (1234567890, {"sha1": "89005924", "sha256": "91819424", "sha512": "93441116"}),
    (2000000000, {"sha1": "69279037", "sha256": "90698825", "sha512": "38618901"}),
    (20000000000, {"sha1": "65353130", "sha256": "77737706", "sha512": "47863826"}),
]
"""Eight digits, steps of 30 seconds: seconds since 1970, and the code of each hash."""

PIN_1234_SHA1: Final = bytes.fromhex("7110eda4d09e062aa5e4a390b0a572ac0d2c0220")
AT_132D0B6: Final = datetime.fromtimestamp(0x132D0B6 * 60, UTC)


class OcraVector(NamedTuple):
    """One line of a table; the seed is that of the suite's hash."""

    suite: str
    challenges: tuple[str, ...]
    code: str
    counter: int | None = None
    pin: bool = False
    timed: bool = False

    def message(self) -> bytes:
        """What goes under the HMAC."""
        return Suite.from_text(self.suite).message(
            *self.challenges,
            counter=self.counter,
            pin_hash=PIN_1234_SHA1 if self.pin else None,
            at=AT_132D0B6 if self.timed else None,
        )


def _codes(printed: str) -> list[str]:
    return printed.split()


def _one_way() -> list[OcraVector]:
    digits = _codes("237653 243178 653583 740991 608993 388898 816933 224598 750600 294470")
    table = [OcraVector("OCRA-1:HOTP-SHA1-6:QN08", (str(n) * 8,), code) for n, code in enumerate(digits)]
    digits = _codes("65347737 86775851 78192410 71565254 10104329 65983500 70069104 91771096 75011558 08522129")
    suite = "OCRA-1:HOTP-SHA256-8:C-QN08-PSHA1"
    table += [OcraVector(suite, ("12345678",), code, counter=n, pin=True) for n, code in enumerate(digits)]
    digits = _codes("83238735 01501458 17957585 86776967 86807031")
    suite = "OCRA-1:HOTP-SHA256-8:QN08-PSHA1"
    table += [OcraVector(suite, (str(n) * 8,), code, pin=True) for n, code in enumerate(digits)]
    digits = _codes("07016083 63947962 70123924 25341727 33203315 34205738 44343969 51946085 20403879 31409299")
    suite = "OCRA-1:HOTP-SHA512-8:C-QN08"
    table += [OcraVector(suite, (str(n) * 8,), code, counter=n) for n, code in enumerate(digits)]
    digits = _codes("95209754 55907591 22048402 24218844 36209546")
    suite = "OCRA-1:HOTP-SHA512-8:QN08-T1M"
    return table + [OcraVector(suite, (str(n) * 8,), code, timed=True) for n, code in enumerate(digits)]


def _mutual() -> list[OcraVector]:
    table = []
    for suite, pin, first, codes in [
        ("OCRA-1:HOTP-SHA256-8:QA08", False, "CLI", "28247970 01984843 65387857 03351211 83412541"),
        ("OCRA-1:HOTP-SHA256-8:QA08", False, "SRV", "15510767 90175646 33777207 95285278 28934924"),
        ("OCRA-1:HOTP-SHA512-8:QA08", False, "CLI", "79496648 76831980 12250499 90856481 12761449"),
        ("OCRA-1:HOTP-SHA512-8:QA08-PSHA1", True, "SRV", "18806276 70020315 01600026 18951020 32528969"),
    ]:
        for n, code in enumerate(_codes(codes)):
            pair = (f"CLI2222{n}", f"SRV1111{n}")
            table.append(OcraVector(suite, pair if first == "CLI" else pair[::-1], code, pin=pin))
    return table


def _signatures() -> list[OcraVector]:
    digits = _codes("53095496 04110475 31331128 76028668 46554205")
    table = [OcraVector("OCRA-1:HOTP-SHA256-8:QA08", (f"SIG1{n}000",), code) for n, code in enumerate(digits)]
    digits = _codes("77537423 31970405 10235557 95213541 65360607")
    suite = "OCRA-1:HOTP-SHA512-8:QA10-T1M"
    return table + [OcraVector(suite, (f"SIG1{n}00000",), code, timed=True) for n, code in enumerate(digits)]


OCRA: Final = [*_one_way(), *_mutual(), *_signatures()]
"""One-way (C.1), mutual (C.2) and plain signature (C.3)."""
