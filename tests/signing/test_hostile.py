"""Messages made to hurt: an answer comes quickly, in little memory, and is never a traceback or a false yes."""

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dojang.der import OCTET_STRING, SEQUENCE, SET, MalformedDer, header, integer, parse, set_of, tlv
from dojang.errors import FileMalformed, VerificationFailed
from dojang.signing import oids
from dojang.signing.cms_frame import definite_opening, indefinite_opening
from dojang.signing.verify import verify_cms

CONTENT = bytes(range(256)) * 4
FORMS = ("der", "ber", "pem", "detached", "bare")


@pytest.fixture(scope="module")
def good(pki, tmp_path_factory, openssl) -> dict[str, bytes]:
    """One good message of each form."""
    folder = tmp_path_factory.mktemp("good")
    from dojang.signing.cms import CmsOptions, sign_file

    subscriber = pki.subscriber("ec-p256")

    def message(**options: object) -> bytes:
        stream = io.BytesIO()
        chosen = CmsOptions(subscriber.certificate_der, pki.chain_der, **options)
        sign_file(folder / "content", stream, subscriber.signer, chosen)
        return stream.getvalue()

    (folder / "content").write_bytes(CONTENT)
    signer = ("-signer", subscriber.certificate_file, "-inkey", subscriber.key_file, "-outform", "DER")
    openssl_sign = ("cms", "-sign", "-binary", "-in", folder / "content", "-certfile", pki.issuing_file, *signer)
    return {
        "der": message(),
        "pem": message(pem=True),
        "detached": message(detached=True),
        "ber": openssl(*openssl_sign, "-nodetach", "-stream", "-indef"),
        "bare": openssl(*openssl_sign, "-nodetach", "-noattr"),
    }


def _judge(pki, data: bytes, form: str, folder: Path) -> bool:
    """Whether it is good; if so what comes out must be what was signed, by whom it was signed."""
    output = None if form == "detached" else folder / "out"
    content = io.BytesIO(CONTENT) if form == "detached" else None
    try:
        found = verify_cms(io.BytesIO(data), trust=pki.trust, content=content, extract_to=output)
    except (VerificationFailed, FileMalformed):
        assert output is None or not output.exists()
        return False
    assert {signer.certificate_der for signer in found.signers} == {pki.subscriber("ec-p256").certificate_der}
    if output is not None:
        assert output.read_bytes() == CONTENT
        output.unlink()
    return True


@pytest.mark.parametrize("form", FORMS)
def test_the_good_ones_are_good(pki, good, tmp_path, form) -> None:
    """Or the tests below would say nothing."""
    assert _judge(pki, good[form], form, tmp_path)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_never_passes_for_something_else(pki, good, tmp_path, form, data) -> None:
    """Bytes changed, cut out, put in, doubled: malformed, not verified, or still exactly what was signed."""
    message = bytearray(good[form])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(message) - 1))
        end = min(len(message), at + data.draw(st.integers(1, 40)))
        match data.draw(st.sampled_from(["change", "cut", "insert", "double", "length"])):
            case "change":
                message[at] = data.draw(st.integers(0, 255))
            case "cut" if len(message) > 50:
                del message[at:end]
            case "insert":
                message[at:at] = data.draw(st.binary(min_size=1, max_size=8))
            case "double":
                message[end:end] = message[at:end]
            case _:
                message[at] = data.draw(st.sampled_from([0x00, 0x7F, 0x80, 0x81, 0x82, 0x84, 0x88, 0xFE, 0xFF]))
    _judge(pki, bytes(message), form, tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_cut_off_anywhere_is_malformed(pki, good, form) -> None:
    """At every byte."""
    whole = good[form]
    closing = len(b"-----END CMS-----\n") if form == "pem" else 0
    for length in range(len(whole) - closing):
        with pytest.raises(FileMalformed):
            verify_cms(io.BytesIO(whole[:length]), trust=pki.trust, content=io.BytesIO(CONTENT))


@pytest.mark.parametrize("form", ["der", "ber", "bare"])
def test_a_changed_bit_in_the_content_never_passes(pki, good, tmp_path, form) -> None:
    """Every bit of some."""
    whole = good[form]
    start = whole.index(CONTENT)
    for at in range(start, start + len(CONTENT), 37):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            assert not _judge(pki, bytes(damaged), form, tmp_path)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_parse_or_are_malformed(data: bytes) -> None:
    """And what parses is the bytes themselves."""
    with suppress(MalformedDer):
        assert parse(data).der == data


def _nested(tag: int, depth: int, inner: bytes = b"") -> bytes:
    value = inner
    for _ in range(depth):
        value = header(tag, len(value)) + value
    return value


def _hostile() -> Iterator[tuple[str, bytes]]:
    sha256 = set_of(tlv(SEQUENCE, oids.DIGESTS["sha256"]))
    head = tlv(SEQUENCE, oids.DATA)
    start = b"\x30\x80" + oids.SIGNED_DATA + b"\xa0\x80\x30\x80" + integer(1) + sha256
    before_signers = start + head

    yield "length of 2^63", b"\x30\x88\x7f" + b"\xff" * 7 + oids.SIGNED_DATA
    yield "length of 126 octets", b"\x30\xfe" + b"\xff" * 126 + oids.SIGNED_DATA
    yield "huge element", start + b"\x30\x80\x06\x84\xff\xff\xff\xff" + bytes(100)
    yield "huge certificate", before_signers + b"\xa0\x80\x30\x84\x7f\xff\xff\xff" + bytes(100)
    yield "10 MB label", before_signers + tlv(0xA0, tlv(SEQUENCE, tlv(0x0C, b"\xec\x95\x84" * 3_500_000)))
    yield "10 MB object identifier", b"\x30\x80" + tlv(0x06, bytes(10_000_000))
    yield "10 MB of NUL", bytes(10_000_000)
    yield "10 MB of certificates", before_signers + tlv(0xA0, b"\x30\x00" * 5_000_000)
    yield "10 MB of signers", before_signers + tlv(SET, b"\x30\x00" * 5_000_000)
    yield "1 MB of attributes", before_signers + tlv(SET, tlv(SEQUENCE, integer(1), tlv(0xA0, b"\x30\x00" * 500_000)))
    yield "deep certificate", before_signers + tlv(0xA0, _nested(SEQUENCE, 50_000))
    yield "deep frames", b"\x30\x80" * 1_000_000
    yield "deep content", start + b"\x30\x80" + oids.DATA + b"\xa0\x80" + b"\x24\x80" * 1_000_000
    yield "deep attributes", before_signers + tlv(SET, tlv(SEQUENCE, integer(1), _nested(0xA0, 10_000)))
    yield "empty pieces", indefinite_opening(sha256) + b"\x04\x00" * 3_000_000
    yield "indefinite in a signer", before_signers + tlv(SET, b"\x30\x80\x02\x01\x01\x00\x00")
    yield "indefinite in a set", before_signers + b"\x31\x80\x30\x80" + bytes(10)
    yield "indefinite primitive", start + b"\x30\x80" + oids.DATA + b"\xa0\x80\x04\x80abc\x00\x00"
    yield "content as long as 2^62", definite_opening(sha256, 1 << 62, 100)
    yield "long PEM line", b"-----BEGIN CMS-----\n" + b"A" * 10_000_000
    yield "long PEM label", b"-----BEGIN " + b"A" * 10_000_000 + b"-----\n"
    yield "endless preamble", b"x\n" * 5_000_000
    yield "high tag number", b"\x3f\x81\x01\x00"
    yield "negative version", start.replace(integer(1), b"\x02\x01\xff") + head + tlv(SET)
    yield "long version", start.replace(integer(1), tlv(2, b"\x01" * 100_000)) + head + tlv(SET)


@pytest.mark.parametrize(("name", "data"), [*_hostile()], ids=[name for name, _ in _hostile()])
def test_a_message_made_to_hurt_is_malformed_at_once(pki, name, data) -> None:
    """Within two seconds, though megabytes have to be looked at."""
    before = time.process_time()
    with pytest.raises(FileMalformed):
        verify_cms(io.BytesIO(data), trust=pki.trust)
    assert time.process_time() - before < 2


def test_they_all_cost_little_memory(tmp_path) -> None:
    """One process meets every one of them, from a file and from a pipe, and stays under 120 MiB."""
    code = (
        "import io, pathlib, sys\n"
        "from dojang.errors import FileMalformed\n"
        "from dojang.signing.verification import Trust\n"
        "from dojang.signing.verify import verify_cms\n"
        "malformed = 0\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    with path.open('rb') as file:\n"
        "        for source in (path, io.BufferedReader(file.raw)):\n"
        "            try:\n"
        "                verify_cms(source, trust=Trust(()))\n"
        "            except FileMalformed:\n"
        "                malformed += 1\n"
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(malformed, peak)\n"
    )
    count = 0
    for count, (_, data) in enumerate(_hostile(), 1):
        (tmp_path / str(count)).write_bytes(data)
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    malformed, peak = map(int, done.stdout.split())
    assert malformed == 2 * count
    assert peak < 120 * 1024


def test_octets_of_odd_cuts_are_the_content(pki, good, tmp_path) -> None:
    """BER allows an OCTET STRING in pieces, and pieces in pieces; the content is their sum."""
    whole = good["der"]
    inside = whole[whole.index(CONTENT) + len(CONTENT) :]
    sha256 = set_of(tlv(SEQUENCE, oids.DIGESTS["sha256"]))
    pieces = b"".join(tlv(OCTET_STRING, CONTENT[at : at + 100]) for at in range(0, len(CONTENT), 100))
    for cut in (tlv(0x24, pieces), tlv(0x24, tlv(0x24, pieces)), b"\x24\x80" + tlv(0x24, pieces) + b"\x04\x00\x00\x00"):
        content = tlv(SEQUENCE, oids.DATA, tlv(0xA0, cut))
        message = tlv(SEQUENCE, oids.SIGNED_DATA, tlv(0xA0, tlv(SEQUENCE, integer(1), sha256, content, inside)))
        assert _judge(pki, message, "der", tmp_path)
