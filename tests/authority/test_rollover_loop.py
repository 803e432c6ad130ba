"""A rollover while certificates are issued all the time, by openings that nobody tells of it."""

import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from dojang.authority import Issued, LocalAuthority, Submission, open_authority
from dojang.authority.hierarchy import delegates, rollover
from dojang.x509.name import parse_name
from dojang.x509.path import check_path
from dojang.x509.request import build_request

SUBJECT = parse_name("CN=홍길동,C=KR")
KEY = ec.generate_private_key(ec.SECP256R1())


@dataclass
class Counter:
    """Somebody who asks for one certificate after the other, and keeps the answers."""

    authority: LocalAuthority
    name: str
    many: bool = False
    answers: list[Any] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        request = build_request(KEY, SUBJECT)
        for number in itertools.count():
            if self.stop.is_set():
                return
            asked = [Submission("issue", request, "personal", f"{self.name}-{number}-{each}") for each in range(3)]
            try:
                found = self.authority.submit_many(asked) if self.many else [self.authority.submit(asked[0])]
                self.answers += found
            except BaseException as error:
                self.errors.append(error)
                return


@dataclass
class Office:
    """An authority with two tiers that is opened again and again; its keys are found by their addresses."""

    founded: LocalAuthority
    clock: Any
    private: dict[str, Any] = field(default_factory=dict)

    def open(self) -> LocalAuthority:
        return open_authority(self.founded.folder.parent, self.founded.name, self.private.__getitem__, clock=self.clock)

    def key(self, name: str) -> tuple[Any, str]:
        self.private[f"pkcs11:object={name}"] = ec.generate_private_key(ec.SECP256R1())
        return self.private[f"pkcs11:object={name}"], f"pkcs11:object={name}"

    def roll(self, authority: LocalAuthority, role: str) -> None:
        """Prepare and switch."""
        rollover.prepare(authority.scene(), role, *self.key(f"{role}-next"))
        rollover.switch(authority.scene(), role)


@pytest.fixture
def office(tiered: LocalAuthority, clock: Any) -> Office:
    made = Office(tiered, clock)
    made.private |= {one.key_address: tiered.roster.private(one.id) for one in tiered.roster.now().keys}
    return made


@pytest.mark.parametrize("role", ["issuing", "root"])
def test_nobody_notices_a_rollover(office: Office, role: str) -> None:
    """Nothing fails; each answer leads to the root that is known; the old key signs nothing after the switch."""
    with office.open() as one, office.open() as other, office.open() as boss:
        workers = [Counter(one, "one"), Counter(other, "two"), Counter(other, "many", many=True)]
        threads = [threading.Thread(target=worker.work) for worker in workers]
        for thread in threads:
            thread.start()
        try:
            wait_for(workers, 5)
            delegates.add_delegate(boss.scene(), "ocsp", *office.key("ocsp"))
            office.roll(boss, role)
            switched = len(list(boss.issued()))
            wait_for(workers, 5)
        finally:
            for worker in workers:
                worker.stop.set()
            for thread in threads:
                thread.join()
        assert [error for worker in workers for error in worker.errors] == []
        answers = [answer for worker in workers for answer in worker.answers]
        assert [answer for answer in answers if isinstance(answer, Exception)] == []
        records = list(boss.issued())
        assert {record.certificate_der for record in records} == {answer.certificate_der for answer in answers}
        if role == "issuing":
            signers = [record.signer for record in records]
            assert signers == sorted(signers)
            assert 0 < signers.index("issuing-2") <= switched
        root = boss.roster.named("root").certificate_der
        for answer in answers[:: max(1, len(answers) // 20)]:
            assert problems_of(answer, root, office.clock()) == ()


def problems_of(answer: Issued, root: bytes, at: Any) -> Any:
    return check_path(answer.certificate_der, intermediates_der=answer.chain_der, anchors_der=[root], at=at).problems


def wait_for(workers: list[Counter], more: int) -> None:
    """Until everybody has that many answers more, or failed."""
    wanted = [len(one.answers) + more for one in workers]
    while not all(len(one.answers) >= count or one.errors for one, count in zip(workers, wanted, strict=True)):
        threading.Event().wait(0.005)


def test_an_old_certificate_after_a_rollover(office: Office) -> None:
    """It is reissued by the new key and revoked in the list of the old; what was answered is answered alike."""
    with office.open() as authority:
        asked = Submission("issue", build_request(KEY, SUBJECT), "personal", "first")
        first = authority.submit(asked)
        authority.confirm("first")
        office.roll(authority, "issuing")
        assert authority.submit(asked) == first
        request = build_request(ec.generate_private_key(ec.SECP256R1()), SUBJECT)
        successor = authority.submit(Submission("reissue", request, "personal", "again", first.certificate_der))
        assert successor.chain_der[0] == authority.certificate_der() != first.chain_der[0]
        authority.confirm("again")
        old_list = x509.load_der_x509_crl(authority.roster.list_path("issuing").read_bytes())
        old = x509.load_der_x509_certificate(first.certificate_der)
        assert old_list.get_revoked_certificate_by_serial_number(old.serial_number) is not None
        assert old_list.is_signature_valid(authority.roster.named("issuing").certificate.public_key())
        assert len(x509.load_der_x509_crl(authority.crl_path().read_bytes())) == 0
        assert {record.signer for record in authority.issued()} == {"issuing", "issuing-2"}


def test_a_server_without_the_new_key_refuses_and_loses_nothing(office: Office) -> None:
    """It answers again as soon as it has the key."""
    with office.open() as server, office.open() as boss:
        asked = Submission("issue", build_request(KEY, SUBJECT), "personal", "t")
        server.submit(Submission("issue", build_request(KEY, SUBJECT), "personal", "before"))
        office.roll(boss, "issuing")
        address = boss.roster.look().issuer.key_address
        held = office.private.pop(address)
        with pytest.raises(KeyError):
            server.submit(asked)
        assert len(list(boss.issued())) == 1
        office.private[address] = held
        assert server.submit(asked).chain_der[0] == boss.certificate_der()


def test_a_slow_look_does_not_bring_the_old_key_back(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two threads that look at the records, one before a switch and one after, the later one holds."""
    began, over = threading.Event(), threading.Event()
    with office.open() as authority, office.open() as boss:
        look = authority.roster._look

        def slow_at_first() -> Any:
            found = look()
            if not began.is_set():
                began.set()
                over.wait(0.5)
            return found

        monkeypatch.setattr(authority.roster, "_look", slow_at_first)
        slow = threading.Thread(target=authority.roster.look)
        slow.start()
        assert began.wait(10)
        office.roll(boss, "issuing")
        authority.roster.look()
        over.set()
        slow.join()
        assert authority.roster.now().issuer.id == "issuing-2"
