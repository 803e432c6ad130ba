"""One-time passwords: the vectors of RFC 4226, RFC 6238 and RFC 6287, under seeds that the token never shows."""

from datetime import UTC, datetime

import pytest
from tests.contract.token.abilities import attempt

from dojang import errors
from dojang.otp.base import NewSeed, Question, Seed
from dojang.otp.held.counters import Counters
from dojang.otp.held.device import TokenSeeds
from dojang.otp.ocra import Suite
from dojang.otp.parameters import OtpParameters
from dojang.secret import Secret
from dojang.testing import otp_vectors as vectors


@pytest.fixture
def seeds(token, tmp_path):
    """The seeds on the token; those that a check has put there are gone after it."""
    with Counters(tmp_path / "counters") as counters:
        device = TokenSeeds(token, counters)
        yield device
        for seed in list(device.seeds()):
            device.delete(seed)


def kept(seeds: TokenSeeds, hash_name: str, **parameters: object) -> Seed | None:
    """A seed of the RFCs on the token; nothing of it is there where the token refuses it."""
    told = OtpParameters(hash_name=hash_name, **parameters)
    seed = attempt(lambda: seeds.add(NewSeed("vectors", told, Secret(vectors.SEEDS[hash_name]))))
    assert (seed is None) == (list(seeds.seeds()) == [])
    return seed


@pytest.mark.parametrize("hash_name", vectors.SEEDS)
def test_codes_by_time(seeds, hash_name, abilities):
    """Every moment of RFC 6238 gives its code, with each hash that the token takes."""
    seed = kept(seeds, hash_name, digits=8)
    if seed is None:
        return
    abilities.note("one-time passwords with SHA-", hash_name.removeprefix("sha"))
    for seconds, codes in vectors.TOTP:
        assert seeds.code(seed, datetime.fromtimestamp(seconds, UTC)).code == codes[hash_name]


def test_codes_by_counter(seeds):
    """Each asked for once more than the one before: RFC 4226's."""
    seed = kept(seeds, "sha1", kind="hotp")
    if seed is None:
        return
    shown = [seeds.code(seed, datetime.now(UTC)) for _ in vectors.HOTP]
    assert [(one.counter, one.code) for one in shown] == list(enumerate(vectors.HOTP))


@pytest.mark.parametrize("suite", sorted({one.suite for one in vectors.OCRA}))
def test_answers_to_challenges(seeds, suite):
    """One-way, mutual and as a signature: RFC 6287's."""
    seed = kept(seeds, Suite.from_text(suite).hash_name, kind="ocra", suite=suite)
    if seed is None:
        return
    for vector in [one for one in vectors.OCRA if one.suite == suite]:
        pin = Secret("1234") if vector.pin else None
        answer = seeds.answer(seed, Question(vector.challenges, pin), vectors.AT_132D0B6)
        assert (answer.counter, answer.code) == (vector.counter, vector.code)


@pytest.mark.parametrize("hash_name", vectors.SEEDS)
def test_a_seed_shorter_than_its_hash(seeds, hash_name):
    """Ten bytes, as many services give out: the same codes as anywhere else, on a token that wants longer keys, too."""
    import hmac

    from dojang.otp import hotp

    short = bytes(range(10))
    told = OtpParameters(kind="hotp", hash_name=hash_name)
    seed = attempt(lambda: seeds.add(NewSeed("short", told, Secret(short))))
    if seed is not None:
        expected = hotp.code(lambda message: hmac.digest(short, message, hash_name), 0)
        assert seeds.code(seed, datetime.now(UTC)).code == expected


def test_a_seed_that_the_token_makes(seeds, token):
    """It is told of with its parameters, does not come out, and is gone after it was deleted."""
    told = OtpParameters(hash_name="sha256", digits=7, period=60, issuer="Bank 은행", account="hong")
    seed = attempt(lambda: seeds.add(NewSeed("made here", told)))
    if seed is None:
        return
    assert [(one.name, one.parameters) for one in seeds.seeds()] == [("made here", told)]
    (key,) = [one for one in token.private_objects(key_id=seed.key_id) if one.type == "secret-key"]
    assert key.attributes["sensitive"]
    assert not key.attributes["extractable"]
    with pytest.raises(errors.AlreadyExists):
        seeds.add(NewSeed("made here", told))
    seeds.delete(seed)
    with pytest.raises(errors.NotFound):
        seeds.find(seed.address)
    assert token.read_data(key_id=seed.key_id) == []
