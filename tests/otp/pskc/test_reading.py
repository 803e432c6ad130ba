"""PSKC as it is read: the documents of RFC 6030, those of python-pskc, and those of people who mean no good."""

import base64
import io
import time
import tracemalloc
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap, aes_key_wrap_with_padding
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pskc import PSKC

from dojang.errors import FileMalformed, TransportKeyWrong
from dojang.otp.parameters import OtpParameters
from dojang.otp.pskc import Container, read_container
from dojang.otp.pskc.container import SPACE
from dojang.secret import Secret

RFC = Path(__file__).with_name("rfc6030")
KEY = Secret("12345678901234567890123456789012")
SEED = b"12345678901234567890"


def _figure(number: int) -> bytes:
    return (RFC / f"figure{number}.xml").read_bytes()


def _read(document: bytes) -> Container:
    return read_container(document, "seeds.xml")


@pytest.mark.parametrize(("number", "given", "seed"), [(3, None, SEED), (6, KEY, SEED), (7, Secret("qwerty"), SEED)])
def test_documents_of_rfc_6030(number, given, seed):
    """Figures 3, 6 (AES-128-CBC under a key both know) and 7 (under a password)."""
    container = _read(_figure(number))
    (opened,) = container.open(given)
    assert bytes(opened.seed()) == seed
    assert opened.key.serial == "987654321"
    assert opened.key.parameters.kind == "hotp"
    assert opened.key.parameters.digits == 8
    assert container.wants_password == (number == 7)
    assert container.is_encrypted == (number != 3)


def test_what_a_container_tells_beside_the_seed():
    """Maker, number, user and issuer (figure 3); a PIN's own key is left out, its policy tolerated (figure 5)."""
    (key,) = _read(_figure(3)).keys
    assert (key.manufacturer, key.user) == ("Manufacturer", "UID=jsmith,DC=example-bank,DC=net")
    assert key.parameters.issuer == "Issuer"
    with_pin = _read(_figure(5))
    assert [one.id for one in with_pin.keys] == ["12345678"]
    assert with_pin.left_out == ("123456781",)
    assert _read(_figure(4)).left_out == ("12345678",)  # to be derived from a key that only its maker has
    (short,) = _read(_figure(2)).keys
    assert short.plain == b"1234"
    assert [one.serial for one in _read(_figure(10)).keys] == ["654321", "123456", "9999999", "9999999"]


@pytest.mark.parametrize("figure", [6, 7])
def test_a_wrong_key_opens_nothing(figure):
    """Not one seed comes out, and the error says that nothing was stored."""
    container = _read(_figure(figure))
    for wrong in ("00" * 16, "ff" * 16, "qwertz", "00" * 32, "", None):
        with pytest.raises(TransportKeyWrong):
            container.open(None if wrong is None else Secret(wrong))


@pytest.mark.parametrize("old", [b"AAECAwQFBgcICQoLDA0OD", b"Su+NvtQf", b"ESIzRFVmd4iZABEiM0RVZgKn6WjL"])
def test_a_changed_container_opens_nothing(old):
    """A bit turned in the ciphertext, in the MAC or in the MAC's key."""
    document = _figure(6)
    assert old in document
    with pytest.raises(TransportKeyWrong):
        _read(document.replace(old, old[:-1] + (b"A" if old[-1:] != b"A" else b"B"))).open(KEY)


CIPHERS = ["aes128-cbc", "aes192-cbc", "aes256-cbc", "kw-aes128", "kw-aes192", "kw-aes256"]


def _by_python_pskc(protect, seed: bytes, **more: object) -> bytes:
    made = PSKC()
    made.add_key(id="1", secret=seed, algorithm="urn:ietf:params:xml:ns:keyprov:pskc:totp", serial="77", **more)
    protect(made.encryption)
    written = io.BytesIO()
    made.write(written)
    return written.getvalue()


@pytest.mark.parametrize("cipher", CIPHERS)
def test_what_python_pskc_encrypts_is_read(cipher):
    """Under each cipher, with a key both sides know; what is wrapped is told in the words of an HSM."""
    bits = next(bits for bits in (128, 192, 256) if str(bits) in cipher)
    key = bytes(range(bits // 8))
    seed = SEED if "cbc" in cipher else SEED + b"1234"

    def protect(encryption):
        encryption.setup_preshared_key(key=key, algorithm=cipher)

    container = _read(
        _by_python_pskc(protect, seed, response_length=7, time_interval=60, algorithm_suite="HMAC-SHA256")
    )
    for written in (Secret(key.hex()), Secret(base64.b64encode(key))):
        (opened,) = container.open(written)
        assert bytes(opened.seed()) == seed
    assert opened.key.parameters == OtpParameters("totp", "sha256", 7, 60)
    way = None if "cbc" in cipher else "kw"
    assert (opened.wrapped and opened.wrapped[2]) == way


def test_padded_key_wrap_is_read():
    """RFC 5649, which seeds of any length take: made by the host's own, for python-pskc has none."""
    key = bytes(range(16))

    def protect(encryption):
        encryption.setup_preshared_key(key=key, algorithm="kw-aes128")

    seed = SEED + b"1234"
    document = _by_python_pskc(protect, seed).replace(b"2001/04/xmlenc#kw-aes128", b"2009/xmlenc11#kw-aes-128-pad")
    old, new = (base64.b64encode(wrap(key, one)) for wrap, one in _WRAPS.items())
    assert old in document
    (opened,) = _read(document.replace(old, new)).open(Secret(key.hex()))
    assert bytes(opened.seed()) == SEED
    assert opened.wrapped[2] == "kwp"


_WRAPS = {aes_key_wrap: SEED + b"1234", aes_key_wrap_with_padding: SEED}


@pytest.mark.parametrize("prf", ["hmac-sha1", "hmac-sha256", "hmac-sha512"])
def test_what_python_pskc_encrypts_with_a_password_is_read(prf):
    """PBKDF2 with each hash."""

    def protect(encryption):
        encryption.setup_pbkdf2("correct horse", iterations=1000, prf=prf, algorithm="aes256-cbc")

    container = _read(_by_python_pskc(protect, SEED))
    (opened,) = container.open(Secret("correct horse"))
    assert bytes(opened.seed()) == SEED
    with pytest.raises(TransportKeyWrong):
        container.open(Secret("correct house"))


BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>'
OUTSIDE = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
DTD = b'<!DOCTYPE a SYSTEM "http://localhost:1/a.dtd"><a/>'
PARAMETER = b'<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd">%p;]><a/>'


@pytest.mark.parametrize("document", [BOMB, OUTSIDE, DTD, PARAMETER, BOMB.decode().encode("utf-16")])
def test_no_document_type_is_read(document):
    """Nothing is expanded, and nothing fetched."""
    with pytest.raises(FileMalformed, match="document type"):
        _read(document)


def _changed(number: int, *changes: tuple[str, str]) -> bytes:
    text = _figure(number).decode()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text.encode()


SECRET = "<PlainValue>MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=\n                    </PlainValue>"
WRONG = {
    "empty": b"",
    "no XML": b"key,seed\n1,2\n",
    "another container": b'<KeyContainer Version="1.0" xmlns="urn:example"/>',
    "a newer version": _changed(3, ('Version="1.0"', 'Version="2.0"')),
    "deep": b"<a>" * 100 + b"</a>" * 100,
    "a long text": b"<a>" + b"x" * 70_000 + b"</a>",
    "a long name": _changed(3, ("987654321", "9" * 300)),
    "an escape in a name": _changed(3, ("987654321", "&#x202E;98765")),
    "two secrets": _changed(3, (SECRET, SECRET * 2)),
    "two Data": _changed(3, ("</Data>", "</Data><Data></Data>")),
    "twins": _changed(10, ('Id="4"', 'Id="3"')),
    "no Id": _changed(3, ('Id="12345678"', "")),
    "another algorithm": _changed(3, ("pskc:hotp", "pskc:securid")),
    "letters for codes": _changed(3, ("DECIMAL", "ALPHANUMERIC")),
    "twelve digits": _changed(3, ('Length="8"', 'Length="12"')),
    "a negative counter": _changed(3, (">0<", ">-1<")),
    "a large counter": _changed(3, (">0<", f">{'9' * 30}<")),
    "no base64": _changed(3, ("MTIz", "M!Iz")),
    "a policy of tomorrow": _changed(5, ("<KeyUsage>OTP</KeyUsage>", "<Biometric/>")),
    "another use": _changed(5, ("<KeyUsage>OTP</KeyUsage>", "<KeyUsage>Encrypt</KeyUsage>")),
    "no MAC": _changed(6, ("<ValueMAC>Su+NvtQfmvfJzF6bmQiJqoLRExc=\n                    </ValueMAC>", "")),
    "an unknown MAC": _changed(6, ("hmac-sha1", "hmac-md5")),
    "another cipher": _changed(6, ("aes128-cbc", "rc4")),
    "half a block": _changed(6, ("AAECAwQFBgcICQoLDA0OD+cIHItlB3Wra1DUpxVvOx2lef1VmNPCMl8jwZqIUqGv", "AAECAwQF")),
    "a key that takes for ever": _changed(7, (">1000<", ">99999999999<")),
    "another derivation": _changed(7, ("pkcs-5v2-0#pbkdf2", "scrypt")),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_to_be_read(name):
    """Each is refused as a whole, in one sentence."""
    with pytest.raises(FileMalformed) as refused:
        _read(WRONG[name])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("number", [3, 5, 6, 7, 10])
def test_half_a_container_is_none(number):
    """Cut anywhere, nothing of it is read."""
    document = _figure(number).rstrip()
    for end in range(0, len(document), 97):
        with pytest.raises(FileMalformed):
            _read(document[:end])


_PIECES = [b"<Key>", b"</Key>", b'Id="1"', b"<!--", b"]]>", b"&amp;", b"&#0;", b"<Data/>", b"\xff", b"=", b"A" * 64]


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mangled_container_is_read_or_refused(data):
    """Whatever is done to a document, it is read as one or is FileMalformed; it opens or is TransportKeyWrong."""
    document = bytearray(_figure(data.draw(st.sampled_from([3, 5, 6, 7, 10]))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(document)))
        size = data.draw(st.integers(0, 40))
        document[at : at + size] = data.draw(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=8)))
    mangle(bytes(document))


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf<a/>")
@example(b'<?xml version="1.0" encoding="no-such"?><a/>')
def test_noise_is_refused(document):
    """Bytes that are nothing."""
    mangle(document)


def mangle(document: bytes) -> None:
    """Read it, and open what can be read."""
    try:
        container = _read(document)
        if container.derivation is None or container.derivation.iterations <= 1000:
            for opened in container.open(KEY):
                opened.seed()
    except (FileMalformed, TransportKeyWrong):
        return


def _packages(count: int, between: str = "\n") -> bytes:
    text = _figure(3).decode()
    begin, end = text.index("<KeyPackage"), text.index("</KeyContainer>")
    package = text[begin:end].replace("12345678", "%d").replace("987654321", "s%d")
    return (text[:begin] + between.join(package % (at, at) for at in range(count)) + text[end:]).encode()


def test_many_keys_take_little_memory():
    """They are read one by one; blanks between them are as long as they like."""
    document = _packages(1700, between="\n" + " " * 40)
    tracemalloc.start()
    try:
        container = _read(document)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [key.id for key in container.keys] == [str(at) for at in range(1700)]
    assert most < 3 * kept


@pytest.mark.parametrize(
    "filling", [b"<a/>", b"<KeyPackage>" + b"<a/>" * 2000, b"<KeyPackage><Key Id='1'/></KeyPackage>"]
)
def test_a_large_file_that_is_none_is_refused_at_once(filling):
    """At what is wrong with it first, and not at its end; what it is full of is not kept."""
    head = b"<KeyContainer Version='1.0' xmlns='urn:ietf:params:xml:ns:keyprov:pskc'>"
    document = head + filling * ((4 << 20) // len(filling))
    began = time.process_time()
    with pytest.raises(FileMalformed):
        _read(document)
    assert time.process_time() - began < 3


def test_a_seed_in_plain_among_encrypted_ones_is_refused():
    """Whoever cannot encrypt under the key of a file could put one of his own into it so."""
    text, plain = _figure(6).decode(), _figure(3).decode()
    package = plain[plain.index("<KeyPackage") : plain.index("</KeyContainer>")]
    end = text.rindex("</pskc:KeyContainer>") if "</pskc:KeyContainer>" in text else text.rindex("</KeyContainer>")
    package = package.replace("<KeyPackage", f'<KeyPackage xmlns="{SPACE}"')
    with pytest.raises(FileMalformed, match="encrypted and others"):
        _read((text[:end] + package + text[end:]).encode())


def _drifted(told: str) -> bytes:
    return _changed(3, ("</Data>", f"<TimeDrift><PlainValue>{told}</PlainValue></TimeDrift></Data>"))


@pytest.mark.parametrize(("told", "steps"), [("4", 4), ("-3", -3), ("0", 0)])
def test_a_clock_may_be_ahead_or_behind(told, steps):
    """As many steps as the file says."""
    assert _read(_drifted(told)).keys[0].drift == steps


@pytest.mark.parametrize("told", ["1048577", "-1048577", "--1", "1e3", ""])
def test_a_clock_may_not_be_a_year_off(told):
    """Nor by what is no number."""
    with pytest.raises(FileMalformed):
        _read(_drifted(told))
