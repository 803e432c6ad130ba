"""pkilint and openssl find nothing wrong with any answer or list, whatever key signs it, in memory or on a token."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint.bin import lint_crl, lint_ocsp_response
from tests.authority.status.bureau import Bureau

from dojang.der import SEQUENCE, children, parse, tlv

FOR_ANSWERS = ["ec-p384", "rsa-2048", "ed25519", "token ec-p256"]
FOR_LISTS = ["ec-p256", "ed25519", "token rsa-2048"]
NONCE = b"n" * 32
STATES = {
    "good": ("confirmed", None),
    "revoked": ("revoked", "keyCompromise"),
    "unspecified": ("revoked", "unspecified"),
    "held": ("suspended", "certificateHold"),
}


@pytest.fixture
def signed_by(request: pytest.FixtureRequest, bureau: Bureau, new_key: Callable[[str], Any]) -> Any:
    """The bureau with two more generations, both by keys of one kind: with a responder of its own, and without."""
    *where, algorithm = request.param.split()
    with ExitStack() as stack:
        keys: Any = (new_key(algorithm) for _ in count())
        if where:
            from dojang.pkcs11 import open_token
            from dojang.secret import Secret

            token = request.getfixturevalue("make_token")()
            opened = stack.enter_context(open_token(token.uri, Secret(token.pin)))
            keys = (opened.generate_key_pair(algorithm, label=f"k{number}") for number in count())
        bureau.found("issuing-2", "issuing", "root", key=next(keys))
        bureau.found("ocsp-2", "ocsp", "issuing-2", key=next(keys))
        bureau.found("issuing-3", "issuing", "root", key=next(keys))
        yield bureau


def findings(main: Callable[[list[str]], int], path: Path, capsys: pytest.CaptureFixture[str], *how: str) -> str:
    """What a program of pkilint says above INFO."""
    main(["lint", "-s", "NOTICE", *how, str(path)])
    return capsys.readouterr().out.strip()


@pytest.mark.parametrize("signed_by", FOR_ANSWERS, indirect=True)
def test_every_answer_is_clean(
    signed_by: Bureau, request_about: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every state, with a nonce and without, of one certificate and of several; openssl verifies each."""
    responder, strict = signed_by.responder(), signed_by.responder(call_unissued_revoked=True)
    root, issuer_path, path = tmp_path / "root.pem", tmp_path / "issuer.pem", tmp_path / "answer.der"
    root.write_bytes(signed_by.own["root"].public_bytes(Encoding.PEM))
    for name in ("issuing-2", "issuing-3"):
        issuer, asked = signed_by.own[name], [4711]
        issuer_path.write_bytes(issuer.public_bytes(Encoding.PEM))
        for state, reason in STATES.values():
            subscriber = signed_by.issue(name)
            signed_by.change(subscriber, state, reason)
            asked.append(subscriber.serial_number)
        requests = [request_about(asked[0], issuer), *(request_about(one, issuer, NONCE) for one in asked)]
        requests.append(request_about(asked[1], issuer, algorithm=hashes.SHA256()))
        requests.append(joined(requests[1:-1]))
        answers = [responder.answer(one) for one in requests] + [strict.answer(requests[1])]
        for answer in answers:
            path.write_bytes(answer.der)
            assert findings(lint_ocsp_response.main, path, capsys) == ""
        for answer in answers[-3:]:
            path.write_bytes(answer.der)
            how = ("-CAfile", root, "-verify_other", issuer_path, "-issuer", issuer_path, "-respin", path)
            done = subprocess.run(["openssl", "ocsp", *map(str, how)], capture_output=True, text=True)
            assert "Response verify OK" in done.stderr, done.stderr


def joined(requests: list[bytes]) -> bytes:
    """One request that asks for all that several ask for, with the nonce of the first."""
    parts = [children(children(parse(one))[0]) for one in requests]
    return tlv(SEQUENCE, tlv(SEQUENCE, tlv(SEQUENCE, *(part[0].content for part in parts)), parts[0][1].der))


@pytest.mark.parametrize("signed_by", FOR_LISTS, indirect=True)
def test_every_list_is_clean(signed_by: Bureau, clock: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Complete and delta, empty and with every kind of entry; openssl reads and verifies each."""
    lists = signed_by.lists(delta_hours=8, base="http://pki.example.kr")
    how = ("-p", "PKIX", "-t", "CRL")
    issuer_path = tmp_path / "issuer.pem"
    issuer_path.write_bytes(signed_by.own["issuing-2"].public_bytes(Encoding.PEM))
    restored = signed_by.issue("issuing-2")
    for round_ in range(3):
        if round_ == 1:
            signed_by.change(restored, "suspended", "certificateHold")
            for state, reason in list(STATES.values())[1:]:
                signed_by.change(signed_by.issue("issuing-2"), state, reason)
        elif round_ == 2:
            signed_by.change(restored, "confirmed")
        lists.publish("issuing-2", clock())
        lists.publish_delta("issuing-2", clock())
        for delta in (False, True):
            path = signed_by.file_of("issuing-2")
            path = path.with_name(f"delta-{path.name}") if delta else path
            assert findings(lint_crl.main, path, capsys, *how) == ""
            command = ["openssl", "crl", "-inform", "DER", "-in", path, "-CAfile", issuer_path, "-noout", "-text"]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            assert "verify OK" in done.stderr
            assert ("Delta CRL Indicator: critical" in done.stdout) == delta
            assert ("X509v3 Freshest CRL" in done.stdout) == (not delta)
