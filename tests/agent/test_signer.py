"""A key in the agent's hands signs as it would in ours, for commands, for the library, and for many at once."""

import hashlib
import inspect
import os
import subprocess
import sys
import threading

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from dojang import errors, open_token
from dojang.agent.signer import AgentSigner, find_signer
from dojang.pkcs11 import ModuleSearch
from dojang.secret import Secret

DIGEST = hashlib.sha256(b"a letter").digest()


def verify(public, algorithm: str, signature: bytes, message: bytes = b"a letter") -> None:
    if algorithm.startswith("rsa"):
        public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    elif algorithm.startswith("ec"):
        public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    else:
        public.verify(signature, message)


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256", "ec-p384", "ec-p521", "ed25519"])
def test_every_kind_of_key(in_shared, seal, algorithm):
    """The signatures are good, and the signer says of the key what ``TokenSigner`` says."""
    signer = find_signer(seal.key(algorithm))
    assert isinstance(signer, AgentSigner)
    assert (signer.algorithm, signer.family) == (algorithm, algorithm.partition("-")[0])
    verify(seal.public[algorithm], algorithm, signer.sign_message(b"a letter"))
    if algorithm != "ed25519":
        verify(seal.public[algorithm], algorithm, signer.sign_digest(DIGEST, "sha256"))


def test_the_shape_of_a_token_signer(in_shared, seal, softhsm_module):
    """Whatever a ``TokenSigner`` offers, an ``AgentSigner`` does."""
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(seal.uri, Secret(seal.pin), search=search) as token:
        own, theirs = token.signer(label="ec-p256"), find_signer(seal.key("ec-p256"))
        names = [name for name in dir(own) if not name.startswith("_")]
        assert [name for name in names if not hasattr(theirs, name)] == []
        for name in ("sign_digest", "sign_message"):
            parameters = inspect.signature(getattr(own, name)).parameters
            assert inspect.signature(getattr(theirs, name)).parameters == parameters


def test_several_messages_at_once(in_shared, seal):
    """A signature of each; where one cannot be made, the error that it alone would get."""
    for algorithm in ("rsa-2048", "ec-p256"):
        signer = find_signer(seal.key(algorithm))
        for signature in signer.sign_messages([b"a letter", b"a letter"], "sha256"):
            verify(seal.public[algorithm], algorithm, signature)
        (refused,) = signer.sign_messages([b"a letter"], "md0")
        assert isinstance(refused, errors.DojangError)


def test_schemes(in_shared, seal):
    """PSS with any salt, and r and s side by side."""
    rsa = find_signer(seal.key("rsa-2048"))
    for salt in (None, 20):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32 if salt is None else salt)
        signature = rsa.sign_digest(DIGEST, "sha256", "pss", salt_length=salt)
        seal.public["rsa-2048"].verify(signature, b"a letter", pss, hashes.SHA256())
    plain = find_signer(seal.key("ec-p256")).sign_digest(DIGEST, "sha256", plain=True)
    der = utils.encode_dss_signature(int.from_bytes(plain[:32], "big"), int.from_bytes(plain[32:], "big"))
    verify(seal.public["ec-p256"], "ec-p256", der)


def test_a_large_message(in_shared, seal):
    """Ed25519 signs messages whole, up to the 16 MiB that dojang allows."""
    message = os.urandom(1 << 20) * 16
    verify(seal.public["ed25519"], "ed25519", find_signer(seal.key("ed25519")).sign_message(message), message)


@pytest.mark.parametrize(
    ("hash_name", "scheme", "error"),
    [
        ("sha256", "eddsa", errors.UnsupportedMechanism),
        ("md5", None, errors.UnsupportedMechanism),
        ("sha512", None, errors.Usage),
    ],
)
def test_the_same_errors(in_shared, seal, softhsm_module, hash_name, scheme, error):
    """What a token key refuses is refused with the same error, its facts with it."""
    with pytest.raises(error) as theirs:
        find_signer(seal.key("rsa-2048")).sign_digest(DIGEST, hash_name, scheme)
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(seal.uri, Secret(seal.pin), search=search) as token, pytest.raises(error) as ours:
        token.signer(label="rsa-2048").sign_digest(DIGEST, hash_name, scheme)
    assert str(theirs.value) == str(ours.value)
    assert theirs.value.advice() == ours.value.advice()


def test_the_library_needs_no_pin(in_shared, seal, softhsm_module):
    """``open_token`` gives ``cryptography`` keys that sign through the agent, with their public halves."""
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(seal.uri, search=search) as token:
        for algorithm, public in seal.public.items():
            key = token.private_key(label=algorithm)
            assert isinstance(key.signer, AgentSigner)
            assert key.public_key() == public
        signature = token.private_key(label="ec-p256").sign(b"a letter", ec.ECDSA(hashes.SHA256()))
        verify(seal.public["ec-p256"], "ec-p256", signature)


def test_a_pin_that_is_given_is_used(in_shared, seal, softhsm_module):
    """Who gives a PIN, or says so, opens the token alone; a wrong PIN is not hidden by the agent."""
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(seal.uri, Secret(seal.pin), search=search) as token:
        assert not isinstance(token.signer(label="ec-p256"), AgentSigner)
    with open_token(seal.uri, search=search, agent=False) as token, pytest.raises(errors.LoginRequired):
        token.signer(label="ec-p256")
    with open_token(seal.uri, Secret("000000"), search=search) as token, pytest.raises(errors.PinIncorrect):
        token.signer(label="ec-p256")


@pytest.mark.parametrize(
    "address",
    [
        "pkcs11:object=ec-p256",  # any token: only looking at all of them says that there is but one
        "pkcs11:token=nobody;object=ec-p256",
        "{uri};object=nothing",
        "{uri}",  # five keys
        "{uri};object=ec-p256;type=public",
        "{uri};object=ec-p256?module-path=/usr/lib/other.so",
    ],
)
def test_what_the_agent_does_not_serve(in_shared, seal, address):
    """An address that does not name one key of the agent is answered as if there were no agent."""
    assert find_signer(address.format(uri=seal.uri)) is None


def test_only_keys_that_were_named(home, seal, monkeypatch):
    """Another key of the same token is not served."""
    home.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source)
    monkeypatch.setenv("DOJANG_HOME", str(home.folder))
    assert find_signer(seal.key("ec-p256")) is not None
    assert find_signer(seal.key("rsa-2048")) is None


def test_another_module_is_meant(in_shared, seal, softhsm_module):
    """Who names a module means the token that it shows."""
    assert find_signer(seal.key("ec-p256"), softhsm_module) is not None
    assert find_signer(seal.key("ec-p256"), "softhsm2") is not None
    assert find_signer(seal.key("ec-p256"), "/usr/lib/other.so") is None
    assert find_signer(seal.key("ec-p256"), "other") is None


def test_a_label_that_has_wandered(home, make_token, monkeypatch):
    """A renewal gives the name to another key; the old key does not sign in its place."""
    token = make_token()
    pin = ("--pin-source", token.pin_source)
    for label in ("stamp", "next"):
        assert home.dojang("key", "generate", token.uri, "--label", label, *pin).returncode == 0
    home.start("--key", f"{token.uri};object=stamp", *pin)
    monkeypatch.setenv("DOJANG_HOME", str(home.folder))
    assert find_signer(f"{token.uri};object=stamp") is not None
    with open_token(token.uri, Secret(token.pin)) as opened:
        keys = list(opened.keys())
        ids = {key.label: key.key_id for key in keys}
        opened.relabel(ids["stamp"], "stamp (retired)")
        opened.relabel(ids["next"], "stamp")
    assert find_signer(f"{token.uri};object=stamp") is None
    assert find_signer(f"{token.uri};id=%{ids['stamp'].hex('%')}") is not None


def test_two_tokens_of_one_label(home, make_token, monkeypatch):
    """A label that two tokens bear names neither, though the agent holds but one of them; with its serial it does."""
    held, _other = make_token("namesakes"), make_token("namesakes")
    pin = ("--pin-source", held.pin_source)
    assert home.dojang("key", "generate", held.uri, "--label", "stamp", *pin).returncode == 0
    home.start("--key", f"{held.uri};object=stamp", *pin)
    monkeypatch.setenv("DOJANG_HOME", str(home.folder))
    assert find_signer("pkcs11:token=namesakes;object=stamp") is None
    assert find_signer("pkcs11:token=namesakes;object=stamp", str(held.module)) is None
    assert find_signer(f"{held.uri};object=stamp") is not None


@pytest.fixture
def pkcs11_tool(make_token, softhsm_module):
    """``pkcs11_tool(*words)`` does what dojang refuses to do on a token, whose address it has."""
    token = make_token()
    login = ("--token-label", token.label, "--login", "--pin", "env:PIN")

    def run(*words: str) -> None:
        command = ["pkcs11-tool", "--module", softhsm_module, *login, *words]
        subprocess.run(command, env={**os.environ, "PIN": token.pin}, check=True, capture_output=True)

    run.token = token
    return run


PAIR = ("--keypairgen", "--key-type", "EC:prime256v1", "--id", "01", "--label")


def test_two_keys_of_one_id(home, pkcs11_tool, monkeypatch):
    """A label that names another key of the same CKA_ID is not signed for with the key that is served."""
    token = pkcs11_tool.token
    pkcs11_tool(*PAIR, "served")
    home.start("--key", f"{token.uri};object=served", "--pin-source", token.pin_source)
    pkcs11_tool(*PAIR, "other")
    monkeypatch.setenv("DOJANG_HOME", str(home.folder))
    assert find_signer(f"{token.uri};object=other") is None


def test_a_key_in_the_place_of_another(home, pkcs11_tool, monkeypatch):
    """A key made anew under the same label and CKA_ID while the agent was locked is another key, for ssh too."""
    token, address = pkcs11_tool.token, f"{pkcs11_tool.token.uri};object=served"
    pkcs11_tool(*PAIR, "served")
    words = ("--key", address, "--pin-source", token.pin_source)
    (before,) = home.start(*words)["keys"]
    assert home.dojang("agent", "lock").returncode == 0
    for kind in ("privkey", "pubkey"):
        pkcs11_tool("--delete-object", "--type", kind, "--id", "01")
    pkcs11_tool(*PAIR, "served")
    (after,) = home.start(*words)["keys"]
    assert after["fingerprint"] != before["fingerprint"]
    monkeypatch.setenv("DOJANG_HOME", str(home.folder))
    with open_token(token.uri, Secret(token.pin)) as opened:
        public = opened.private_key(label="served").public_key()
    verify(public, "ec-p256", find_signer(address).sign_digest(DIGEST, "sha256"))


CLIENT = """
import sys
from dojang.agent.signer import find_signer
signer = find_signer(sys.argv[1])
for _ in range(250):
    print(signer.sign_digest(bytes.fromhex(sys.argv[2]), "sha256").hex())
"""


def test_thousands_of_requests_from_eight_clients(in_shared, seal):
    """Each gets its own answers."""
    before = sum(key["signatures"] for key in in_shared.status()["keys"])
    clients = {
        algorithm: [
            subprocess.Popen(
                [sys.executable, "-c", CLIENT, seal.key(algorithm), DIGEST.hex()], stdout=subprocess.PIPE, text=True
            )
            for _ in range(4)
        ]
        for algorithm in ("rsa-2048", "ec-p256")
    }
    made = {algorithm: [one.communicate()[0].split() for one in some] for algorithm, some in clients.items()}
    assert [len(lines) for lines in made["rsa-2048"]] == [250] * 4
    assert len({line for lines in made["rsa-2048"] for line in lines}) == 1  # PKCS#1 v1.5 is deterministic
    signatures = {line for lines in made["ec-p256"] for line in lines}
    assert len(signatures) == 1000
    for signature in list(signatures)[::50]:
        verify(seal.public["ec-p256"], "ec-p256", bytes.fromhex(signature))
    assert sum(key["signatures"] for key in in_shared.status()["keys"]) - before == 2000


def test_one_signer_in_many_threads(in_shared, seal):
    """A signer is shared by threads as ``TokenSigner`` is."""
    signer = find_signer(seal.key("rsa-2048"))
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.extend(signer.sign_digest(DIGEST, "sha256") for _ in range(50)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 400
    assert len(set(results)) == 1


def test_a_fork_takes_connections_of_its_own(in_shared, seal):
    """Parent and child sign on without mixing their answers."""
    signer = find_signer(seal.key("rsa-2048"))
    expected = signer.sign_digest(DIGEST, "sha256")
    child = os.fork()
    if not child:
        os._exit(0 if all(signer.sign_digest(DIGEST, "sha256") == expected for _ in range(100)) else 1)
    assert all(signer.sign_digest(DIGEST, "sha256") == expected for _ in range(100))
    assert os.waitpid(child, 0)[1] == 0


def test_an_agent_that_ends_in_between(in_agent, seal):
    """The next signature says so instead of asking for a PIN nobody expects."""
    signer = find_signer(seal.key("rsa-2048"))
    in_agent.dojang("agent", "stop")
    with pytest.raises((errors.AgentUnavailable, errors.SignatureUncertain)):
        signer.sign_digest(DIGEST, "sha256")
    with pytest.raises(errors.AgentUnavailable):
        signer.sign_digest(DIGEST, "sha256")
    assert find_signer(seal.key("rsa-2048")) is None


def test_a_connection_that_the_agent_closed(in_shared, seal):
    """An agent with too many connections closes the idle ones; their owners do not notice."""
    signer = find_signer(seal.key("rsa-2048"))
    expected = signer.sign_digest(DIGEST, "sha256")
    others = [find_signer(seal.key("rsa-2048")) for _ in range(80)]
    assert signer.sign_digest(DIGEST, "sha256") == expected
    assert all(one.sign_digest(DIGEST, "sha256") == expected for one in others)
