"""Enrolment at an authority that is open, as the conversation and the office get it."""

import pytest

from dojang.authority import open_authority
from dojang.errors import CodeRefused, NotFound, UnsupportedOperation


class Ring:
    """Opens one secret in memory, once it was made; and no key that signs."""

    def __init__(self, key: object) -> None:
        self.key, self.made = key, 0

    def __call__(self, address: str) -> object:
        raise AssertionError("nothing is signed here")

    def open(self, address: str) -> object:
        return self.key

    def make(self, beside: str, key_id: bytes, label: str) -> str:
        self.made += 1
        return f"{beside};id={key_id.hex()}"


def test_before_the_first_code_every_code_is_wrong(authority, small) -> None:
    """A server that runs already knows nobody; the code that is made then, by another process, it knows at once."""
    ring = Ring(small.key)
    with (
        open_authority(authority.folder.parent, "test", ring) as server,
        open_authority(authority.folder.parent, "test", ring) as office,
    ):
        offer = server.enrolments.secret_for("0123456789", "203.0.113.7")
        with pytest.raises(CodeRefused):
            offer.check()
        assert ring.made == 0
        answers = [office.counter.perform("code.new", {"profile": "personal", "subject": "CN=Hong"}) for _ in range(2)]
        assert ring.made == 1
        for answer in answers:
            offer = server.enrolments.secret_for(answer["enrolment"]["reference"], "203.0.113.7")
            offer.check()
            assert offer.secret.reveal().decode() == answer["code"]


def test_what_opens_no_secrets_gives_out_no_codes(authority) -> None:
    """Said so; everything that needs no secret works."""
    with pytest.raises(UnsupportedOperation):
        authority.counter.perform("code.new", {"profile": "personal", "subject": "CN=Hong"})
    assert authority.counter.perform("enrolment.list", {}) == {"enrolments": []}
    with pytest.raises(NotFound):
        authority.counter.perform("code.new", {"profile": "issuing", "subject": "CN=Another"})
