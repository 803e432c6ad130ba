"""pytest fixtures for software that uses PKCS#11 tokens: real tokens, keys, certificates and cards.

Installed with dojang, so ``pip install dojang[testing]`` is all; nothing happens until a test asks for a fixture:

    def test_signing(dojang_credential):
        my_program("--module", dojang_credential.token.module, "--key", dojang_credential.uri)

What they hand out are plain values (module path, label, serial, PINs and files with them, URI, environment), for any
binding and any program. ``SOFTHSM2_CONF`` is set while the fixtures are in use, for this process and its children.

    dojang_token             a fresh SoftHSM2 token (``TokenSetup``)
    dojang_shared_token      one for the whole session, there before any test of yours loads a module
    dojang_token_factory     ``factory(label, pin=…, so_pin=…)``: as many tokens as you want
    dojang_key               a key pair on ``dojang_token`` (``KeySetup``); P-256, or what the test is parametrised with
    dojang_key_factory       ``factory(token, algorithm, label=…)``
    dojang_credential        a key pair with a certificate (``CredentialSetup``); parametrised like ``dojang_key``
    dojang_credential_factory  ``factory(token, algorithm, label=…, subject=…, profile=…, at=…)``
    dojang_authority         the throw-away authority behind the certificates: its root, its revocation list
    dojang_piv_card          an emulated PIV card in a reader, with its counters and faults (``PluggedIn``)
    dojang_locking_token     a card that locks its PIN after three wrong ones (``CardToken``)
    dojang_vanishing_token   a card with ``remove()`` and ``insert()`` (``CardToken``)
    dojang_softhsm           the SoftHSM2 behind the tokens: ``environment``, ``module``, ``folder``
    dojang_home              an empty ``DOJANG_HOME``, for tests of what dojang itself remembers

Every kind of key in turn:

    from dojang.testing import KEY_KINDS

    @pytest.mark.parametrize("dojang_key", KEY_KINDS, indirect=True)
    def test_each(dojang_key): ...

Each pytest process has tokens of its own, so pytest-xdist just works. What is missing (SoftHSM2, OpenSC, pcscd, the
right to make namespaces) fails the test that asked for it, with what to install or allow.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from dojang.testing.authority import ThrowAwayAuthority
    from dojang.testing.card_token import CardToken
    from dojang.testing.keysmith import CredentialSetup, KeySetup, Keysmith
    from dojang.testing.pcsc import Pcscd
    from dojang.testing.piv import PluggedIn
    from dojang.testing.setup import TokenSetup
    from dojang.testing.softhsm import SoftHsm


@contextmanager
def _said_plainly() -> Iterator[None]:
    """What cannot be brought up fails the test with its sentence and no traceback of ours."""
    from dojang.testing.setup import BringUpFailed

    try:
        yield
    except BringUpFailed as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def dojang_softhsm() -> "Iterator[SoftHsm]":
    """An isolated SoftHSM2, which this process and its children use while the session lasts."""
    from dojang.testing.softhsm import softhsm

    with _said_plainly(), softhsm() as hsm, hsm.in_this_process():
        yield hsm


@pytest.fixture(scope="session")
def dojang_token_factory(dojang_softhsm: "SoftHsm") -> "Callable[..., TokenSetup]":
    """Call it with ``label``, ``pin`` and ``so_pin``, or with nothing, for one more token."""

    def make(label: str | None = None, *, pin: str | None = None, so_pin: str | None = None) -> "TokenSetup":
        with _said_plainly():
            return dojang_softhsm.token(label, pin=pin, so_pin=so_pin)

    return make


@pytest.fixture
def dojang_token(dojang_token_factory: "Callable[..., TokenSetup]") -> "TokenSetup":
    """A fresh SoftHSM2 token."""
    return dojang_token_factory()


@pytest.fixture(scope="session")
def dojang_shared_token(dojang_token_factory: "Callable[..., TokenSetup]") -> "TokenSetup":
    """One SoftHSM2 token for the whole session."""
    return dojang_token_factory()


@pytest.fixture(scope="session")
def _dojang_keysmith(dojang_softhsm: "SoftHsm") -> "Iterator[Keysmith]":
    from dojang.testing.keysmith import Keysmith

    with Keysmith(dojang_softhsm.environment, dojang_softhsm.folder) as smith:
        yield smith


@pytest.fixture(scope="session")
def dojang_key_factory(_dojang_keysmith: "Keysmith") -> "Callable[..., KeySetup]":
    """Call it with a token, an algorithm of ``KEY_KINDS`` and ``label`` for one more key pair."""

    def make(token: "TokenSetup", algorithm: str = "ec-p256", *, label: str = "key") -> "KeySetup":
        with _said_plainly():
            return _dojang_keysmith.key(token, algorithm, label=label)

    return make


@pytest.fixture
def dojang_key(
    request: pytest.FixtureRequest, dojang_token: "TokenSetup", dojang_key_factory: "Callable[..., KeySetup]"
) -> "KeySetup":
    """A key pair on ``dojang_token``; parametrise it indirectly with algorithms of ``KEY_KINDS``."""
    return dojang_key_factory(dojang_token, getattr(request, "param", "ec-p256"))


@pytest.fixture(scope="session")
def dojang_authority(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[ThrowAwayAuthority]":
    """The authority that certifies; ``certificate_file`` is its root in PEM, ``revoke()`` publishes ``crl_file``."""
    from dojang.testing.authority import throw_away_authority

    with throw_away_authority(tmp_path_factory.mktemp("dojang-authority")) as authority:
        yield authority


@pytest.fixture(scope="session")
def dojang_credential_factory(
    _dojang_keysmith: "Keysmith", dojang_authority: "ThrowAwayAuthority"
) -> "Callable[..., CredentialSetup]":
    """Call it with a token, an algorithm and ``label``, ``subject``, ``profile`` or ``at`` for one more credential."""

    def make(token: "TokenSetup", algorithm: str = "ec-p256", **wanted: Any) -> "CredentialSetup":
        with _said_plainly():
            return _dojang_keysmith.credential(token, dojang_authority, algorithm, **wanted)

    return make


@pytest.fixture
def dojang_credential(
    request: pytest.FixtureRequest,
    dojang_token: "TokenSetup",
    dojang_credential_factory: "Callable[..., CredentialSetup]",
) -> "CredentialSetup":
    """A key pair on ``dojang_token`` with a certificate of ``dojang_authority``; parametrised like ``dojang_key``."""
    return dojang_credential_factory(dojang_token, getattr(request, "param", "ec-p256"))


@pytest.fixture(scope="session")
def _dojang_pcscd() -> "Iterator[Pcscd]":
    from dojang.testing.pcsc import pcscd

    with _said_plainly(), pcscd() as daemon:
        yield daemon


@pytest.fixture
def dojang_piv_card(_dojang_pcscd: "Pcscd") -> "Iterator[PluggedIn]":
    """A fresh emulated PIV card in a reader; ``dojang.testing.piv`` says what it can be told to do."""
    from dojang.testing.piv import plugged_in

    with _said_plainly(), plugged_in() as plugged:
        yield plugged


@contextmanager
def _fresh_card() -> "Iterator[CardToken]":
    from dojang.testing.card_token import card_token

    with _said_plainly(), card_token() as token:
        yield token


@pytest.fixture
def dojang_locking_token(_dojang_pcscd: "Pcscd") -> "Iterator[CardToken]":
    """A token that locks its PIN for good after three wrong ones; ``tries_left`` and ``locked`` are the card's own."""
    with _fresh_card() as token:
        yield token


@pytest.fixture
def dojang_vanishing_token(_dojang_pcscd: "Pcscd") -> "Iterator[CardToken]":
    """A token that ``remove()`` pulls out and ``insert()`` puts back."""
    with _fresh_card() as token:
        yield token


@pytest.fixture
def dojang_home(tmp_path: "Path", monkeypatch: pytest.MonkeyPatch) -> "Path":
    """An empty ``DOJANG_HOME`` for this test: dojang's configuration, records and memory of wrong PINs."""
    home = tmp_path / "dojang-home"
    home.mkdir()
    monkeypatch.setenv("DOJANG_HOME", str(home))
    return home
