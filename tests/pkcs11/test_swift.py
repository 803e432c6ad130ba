"""After many signatures C_Sign is called another way; nothing but the speed may differ."""

import threading

import _cffi_backend
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from dojang.pkcs11 import ModuleSearch, open_token
from dojang.pkcs11.cryptoki import Cryptoki
from dojang.pkcs11.swift import swift
from dojang.secret import Secret

MORE_THAN_MANY = 3 * Cryptoki._MANY_SIGNATURES


@pytest.fixture
def token(make_token, softhsm_module):
    made = make_token()
    with open_token(made.uri, Secret(made.pin), search=ModuleSearch(module=softhsm_module, discover=False)) as opened:
        yield opened


def test_signatures_stay_right_while_the_way_changes(token) -> None:
    """Four threads sign across the change, each its own messages, and every signature is of its message."""
    key = token.generate_key_pair("ec-p256", label="k")
    wrong: list[str] = []

    def sign(thread: int) -> None:
        for number in range(MORE_THAN_MANY):
            message = f"{thread} {number}".encode()
            signature = key.sign(message, ec.ECDSA(hashes.SHA256()))
            try:
                key.public_key().verify(signature, message, ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                wrong.append(message.decode())

    threads = [threading.Thread(target=sign, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    cryptoki = token.token.module.cryptoki
    assert isinstance(cryptoki.sign_init, _cffi_backend._CDataBase)
    assert isinstance(cryptoki.sign_into, _cffi_backend._CDataBase)


def test_both_ways_answer_the_same(token) -> None:
    """A return value is a return value, whichever way it comes."""
    cryptoki = token.token.module.cryptoki
    plain = cryptoki.function("C_SignInit"), cryptoki.function("C_Sign")
    for init, sign in (plain, swift(*plain)):
        assert init(0xFFFFFFFF, 0, 1) == plain[0](0xFFFFFFFF, 0, 1) != 0
        assert sign(0xFFFFFFFF, b"data", 4, 0, 0) == plain[1](0xFFFFFFFF, b"data", 4, 0, 0) != 0
