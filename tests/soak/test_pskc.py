"""Ten minutes of PSKC files that somebody has tampered with: each is read as one, or refused in one way."""

import random
import time
from pathlib import Path

import pytest

from dojang.errors import FileMalformed, TransportKeyWrong
from dojang.otp.pskc import read_container
from dojang.secret import Secret

DOCUMENTS = [path.read_bytes() for path in sorted((Path(__file__).parent.parent / "otp/pskc/rfc6030").glob("*.xml"))]
KEY = Secret("12345678901234567890123456789012")
FEW_ITERATIONS = 1000
SLOWEST = 2.0


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seconds", [2, pytest.param(600, marks=pytest.mark.soak)])
def test_tampered_containers(seconds):
    """Nothing else is raised, and no document takes long: pieces of all documents are cut, doubled and mixed."""
    noise, read = random.Random(20260101), 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        document, begun = _tampered(noise), time.monotonic()
        try:
            container = read_container(document, "seeds.xml")
            read += 1
            if container.derivation is None or container.derivation.iterations <= FEW_ITERATIONS:
                for opened in container.open(KEY):
                    opened.seed()
        except (FileMalformed, TransportKeyWrong):
            pass
        except BaseException as error:
            error.add_note(repr(document))
            raise
        assert time.monotonic() - begun < SLOWEST, document
    assert read > seconds, "next to nothing was well-formed, and nothing was tried"


def _tampered(noise: random.Random) -> bytes:
    document = bytearray(noise.choice(DOCUMENTS))
    for _ in range(noise.randint(1, 4)):
        at, other = noise.randrange(len(document)), noise.choice(DOCUMENTS)
        start = noise.randrange(len(other))
        pieces = (
            other[start : start + noise.randint(0, 200)],
            noise.randbytes(noise.randint(0, 4)),
            bytes([noise.randrange(256)]),
            noise.choice((b"", b"<", b">", b"&lt;", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"0", b"-", b"9" * 40)),
        )
        document[at : at + noise.choice((0, 1, 1, 4, 40))] = noise.choice(pieces)
    return bytes(document)
