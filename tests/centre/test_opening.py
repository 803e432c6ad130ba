"""Authorities as a centre has them: opened, opened anew, and let go."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.centre.serving import until

from dojang.authority import LocalAuthority, create_authority
from dojang.authority.jobs.embedded import EmbeddedEngine
from dojang.authority.jobs.engine import Job
from dojang.authority.jobs.runner import JobRunner
from dojang.authority.jobs.schedule import Schedule
from dojang.centre.opening import Opened, open_centre
from dojang.cli.authority_tokens import AuthorityTokens
from dojang.errors import InvalidSetting, NotFound, OtpIncorrect
from dojang.otp.devices import NewDevice
from dojang.otp.parameters import OtpParameters
from dojang.pkcs11 import open_token
from dojang.secret import Secret
from dojang.x509.name import parse_name


class Held:
    """Jobs that wait until they may end; the runners that were made, in their order."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Semaphore(0), threading.Event()
        self.ended: list[str] = []
        self.runners: list[JobRunner] = []

    def runner_of(self, authority: LocalAuthority, **_more: object) -> JobRunner:
        def work(job: Job, _at: datetime) -> None:
            self.begun.release()
            assert self.may_end.wait(20)
            authority.info()  # its database is still open
            self.ended.append(job.key)

        engine = EmbeddedEngine(authority.database)
        made = JobRunner(
            engine, authority.database, {"held": work}, Schedule("test", {"held": work}, ()), look_seconds=0.05
        )
        self.runners.append(made)
        return made


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    key = ec.generate_private_key(ec.SECP256R1())
    names = {"name": "test", "subject": parse_name("CN=Test,C=KR"), "key_address": "pkcs11:object=root"}
    create_authority(tmp_path, key=key, **names).close()
    with open_centre(tmp_path, ["test"], lambda _address: key, root_online=True) as centre:
        yield centre


def test_who_was_alone_is_found_when_others_join(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Addresses without a name lead to the one authority that has such; whose lead nowhere is told of in the log."""
    key = ec.generate_private_key(ec.SECP256R1())
    addresses = {"old": "http://ca.example.kr/", "new": "http://ca.example.kr/new", "lost": "http://ca.example.kr/away"}
    for name, address in addresses.items():
        names = {"name": name, "subject": parse_name(f"CN={name},C=KR"), "key_address": f"pkcs11:object={name}"}
        create_authority(tmp_path, key=key, address=address, **names).close()
    with open_centre(tmp_path, addresses, lambda _address: key, root_online=True) as centre:
        assert centre.state.authority().name == "old"
        assert [one.name for one in centre.state.astray()] == ["lost"]
        assert [one.facts["authority"] for one in caplog.records if hasattr(one, "facts")] == ["lost"]
        settings = tmp_path / "lost" / "authority.toml"
        settings.write_text('address = "http://ca.example.kr"\n')
        centre.reload()
        with pytest.raises(NotFound):  # two of them want it
            centre.state.authority()
        assert [one.name for one in centre.state.astray()] == ["old", "lost"]
        assert centre.state.authority("old").name == "old"


def test_a_job_that_runs_while_settings_are_read_again_ends_as_it_began(opened, monkeypatch):
    """The runner of before begins nothing more and waits for it; the new one is at work meanwhile."""
    held = Held()
    monkeypatch.setattr("dojang.authority.jobs.kinds.runner_of", held.runner_of)
    opened.begin_jobs()
    database = opened.state.authority("test").database
    with contextlib.closing(EmbeddedEngine(database)) as engine:
        engine.enqueue("held", "first", datetime.now(UTC))
        assert held.begun.acquire(timeout=20)
        opened.reload()
        engine.enqueue("held", "second", datetime.now(UTC))
        assert held.begun.acquire(timeout=20)
        before, after = held.runners
        assert not before._closed.is_set()
        held.may_end.set()
        until(lambda: sorted(held.ended) == ["first", "second"])
        until(lambda: before._closed.is_set() and not engine.standing())
        assert not after._closed.is_set()


def test_messages_that_could_not_be_sent_are_noticed_first(opened, tmp_path):
    """Nobody is served by settings whose secrets are not there; those of before stay in force meanwhile."""
    before, secret = opened.state.authority("test"), tmp_path / "key"
    (tmp_path / "test" / "authority.toml").write_text(
        '[messages.ars]\nkind = "call"\nurl = "https://call.example.com/"\ncallback = "https://ca.example.com/ars"\n'
        f'key-source = "file:{secret}"\n'
    )
    with pytest.raises(InvalidSetting, match="key-source"):
        opened.reload()
    assert opened.state.authority("test") is before
    secret.touch(0o600)
    secret.write_text("0123456789abcdef\n")
    opened.reload()
    assert opened.state.authority("test") is not before


def test_a_centre_checks_codes_with_seeds_that_lie_under_its_token(make_token, tmp_path):
    """The keys as ``dojang serve`` has them open the token, too, for what is sealed on it."""
    token = make_token()
    with open_token(token.uri, Secret(token.pin)) as on_token:
        key, address = on_token.generate_key_pair("ec-p256", label="root"), f"{token.uri};object=root"
        create_authority(
            tmp_path, name="test", subject=parse_name("CN=Test,C=KR"), key=key, key_address=address
        ).close()
        ring = AuthorityTokens(lambda _address: on_token)
        with open_centre(tmp_path, ["test"], ring, root_online=True) as centre:
            devices = centre.state.authority("test").devices
            device = devices.add(NewDevice(OtpParameters(kind="hotp"), None, "phone"))
            with pytest.raises(OtpIncorrect):
                devices.verify(device.id, Secret("none"))
            assert devices.listed(applicant=None, after=None, limit=9)[0].id == device.id
