"""Whatever the password, the name, R and what lies beside it: what is written is read again as it was."""

import tempfile
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.npki.test_pkcs12 import CA, KEY, KM, SIGN
from tests.npki.test_vid import certificate

from dojang.npki.contents import FOREIGN_FILES
from dojang.npki.keyfile import SCHEMES, open_pkcs8, seal_pkcs8
from dojang.npki.passwords import ENCODINGS
from dojang.npki.pkcs8 import Pkcs8
from dojang.npki.pkcs12 import read_pkcs12
from dojang.npki.pkcs12_bags import Pkcs12, Pkcs12Entry
from dojang.npki.pkcs12_writing import PROFILES, write_pkcs12
from dojang.npki.vid import compute_vid, identify, verify_vid
from dojang.npki.zips import read_zip
from dojang.secret import Secret

korean = st.text(st.characters(codec="cp949", exclude_characters="\0"), min_size=1, max_size=20)
randoms = st.binary(min_size=1, max_size=64).map(Secret)
numbers = st.from_regex(r"[0-9]{10}([0-9]{3})?", fullmatch=True).map(Secret)


@given(korean, st.sampled_from(ENCODINGS), st.sampled_from(SCHEMES), randoms)
@settings(max_examples=60)
def test_key_files(password: str, encoding: str, scheme: str, random_number: Secret) -> None:
    """In every scheme and either encoding of the password, with any R."""
    pkcs8 = Pkcs8.from_key(KEY, random_number)
    sealed = seal_pkcs8(pkcs8.der, Secret(password), 1, scheme=scheme, encoding=encoding)
    opened = open_pkcs8(sealed, Secret(password), "signPri.key")
    assert (opened, opened.random_number) == (pkcs8, random_number)


@given(st.text(min_size=1, max_size=20), st.text(max_size=20), st.sampled_from(PROFILES), randoms)
@settings(max_examples=60)
def test_pkcs12_files(password: str, name: str, profile: str, random_number: Secret) -> None:
    """With any password and any name, emoji included."""
    entry = Pkcs12Entry(Pkcs8.from_key(KEY, random_number), SIGN.certificate_der, name)
    contents = Pkcs12((entry, KM), (CA,))
    made = write_pkcs12(contents, Secret(password), profile=profile, iterations=1)
    assert read_pkcs12(made, Secret(password), "a.p12") == contents


@given(st.fixed_dictionaries({}, optional={name: st.binary(max_size=200) for name in FOREIGN_FILES[1:]}))
@settings(max_examples=25)
def test_zipped_folders(beside: dict[str, bytes]) -> None:
    """Out of a zip: key, km pair and CaPubs byte for byte, whatever is in them."""
    files = {"signCert.der": SIGN.certificate_der} | beside
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "a.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(f"cn=홍/{name}", data)
        (found,) = read_zip(path)
        assert found.files == files


@given(st.text(min_size=1, max_size=20), numbers, st.binary(min_size=20, max_size=40).map(Secret))
@settings(max_examples=25)
def test_vids(name: str, number: Secret, random_number: Secret) -> None:
    """Whoever is put into a certificate is found there, and nobody else."""
    der = certificate(identify(name, number, random_number).to_other_name())
    assert verify_vid(der, number, random_number)
    assert not verify_vid(der, number, Secret(random_number.reveal() + b"\0"))
    assert compute_vid(number, random_number) != compute_vid(number, random_number, "sha1")
