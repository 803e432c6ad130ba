"""Many messages signed in one go get what each would get by itself: a good signature, or the same error."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11 import open_token
from dojang.secret import Secret
from dojang.x509.request import signs_all_with

MESSAGES = [f"message {number}".encode() for number in range(20)]


def verify(key, signatures) -> None:
    public = key.public_key()
    for message, signature in zip(MESSAGES, signatures, strict=True):
        if isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        elif isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, message)
        else:
            public.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256", "ed25519"])
def test_each_message_has_its_signature(token, algorithm):
    """In their order, from the first on, and again once the way to the key is known; none for none."""
    key = token.generate_key_pair(algorithm, label=f"all {algorithm}")
    sign = signs_all_with(key)
    verify(key, sign(MESSAGES))
    verify(key, sign(MESSAGES))
    assert sign([]) == []


def test_a_key_that_is_not_on_a_token():
    """It signs them one by one."""
    key = ec.generate_private_key(ec.SECP256R1())
    verify(key, signs_all_with(key)(MESSAGES))


def test_a_login_that_is_lost_is_renewed(token):
    """Nobody is left without a signature."""
    key = token.generate_key_pair("ec-p256", label="lost")
    sign = signs_all_with(key)
    verify(key, sign(MESSAGES))
    session = token._pool.take()
    session.cryptoki.logout(session.handle)
    token._pool.give(session)
    verify(key, sign(MESSAGES))


@pytest.mark.parametrize("function", ["sign_init", "sign_into"])
def test_one_that_fails_leaves_the_others_alone(token, monkeypatch, function):
    """It has the error that it would have by itself."""
    key = token.generate_key_pair("ec-p256", label=f"failing {function}")
    sign = signs_all_with(key)
    sign(MESSAGES)
    session = token._pool.take()
    cryptoki = session.cryptoki
    token._pool.give(session)
    real, calls = getattr(cryptoki, function), iter(range(1000))

    def failing(*arguments):
        return ck.CKR_DATA_LEN_RANGE if next(calls) == 3 else real(*arguments)

    monkeypatch.setattr(cryptoki, function, failing)
    answers = sign(MESSAGES)
    monkeypatch.undo()
    (failed,) = [one for one in answers if not isinstance(one, bytes)]
    assert answers.index(failed) == 3
    assert isinstance(failed, errors.DojangError)
    verify(key, [*answers[:3], *sign(MESSAGES[3:4]), *answers[4:]])


def test_a_token_that_was_closed_signs_none(make_token, search, guard):
    """Each is told so."""
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        key = opened.generate_key_pair("ec-p256", label="k")
        sign = signs_all_with(key)
        verify(key, sign(MESSAGES))
    assert [type(one) for one in sign(MESSAGES)] == [errors.TokenClosed] * len(MESSAGES)
