"""Keys of an authority and their generations: whatever was issued leads to a root that its holder can know."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint.bin import lint_pkix_cert

from dojang.authority.audit.reading import entries
from dojang.authority.database import Database
from dojang.authority.hierarchy import chains, delegates, rollover
from dojang.authority.hierarchy.certifying import certify, certify_itself, record
from dojang.authority.hierarchy.crossing import cross_sign
from dojang.authority.hierarchy.scene import Scene
from dojang.authority.hierarchy.signers import (
    CURRENT,
    NEXT,
    RETIRED,
    RETIRING,
    Key,
    add,
    issuer_now,
    keys,
    root_addresses,
)
from dojang.authority.status.lists import Lists
from dojang.errors import AlreadyExists, CertificateUnusable, NothingToDo, NotPermitted, Usage
from dojang.x509.name import parse_name
from dojang.x509.profiles import profile

BASE = "http://ca.example.kr/office"
# The names of old and new generations are the same, as RFC 9810 has it; pkilint looks at one certificate at a time.
FOUNDED = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)


def new_key() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


# What is asked is about certificates, whatever database they are in.
about_certificates = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@dataclass
class House:
    """An authority on a database with software keys; ``at`` is the time there."""

    folder: Path
    database: Database
    at: datetime = FOUNDED
    private: dict[str, Any] = field(default_factory=dict)

    def key(self, name: str) -> tuple[Any, str]:
        """A new private key and the address it is found at."""
        address = f"pkcs11:object={name}"
        self.private[address] = new_key()
        return self.private[address], address

    @property
    def scene(self) -> Scene:
        files = Lists(self.database, self.open, lambda name: self.folder / f"{name}.crl")
        return Scene(
            "office", self.database, self.private.__getitem__, lambda name: files.publish(name, self.at), self.at, BASE
        )

    def open(self, name: str) -> Any:
        return self.private[self.named(name).key_address]

    def every(self, *roles: str) -> list[Key]:
        with self.database.reading() as connection:
            return keys(connection, *roles)

    def named(self, name: str) -> Key:
        return next(one for one in self.every() if one.id == name)

    def states(self, role: str) -> dict[str, str]:
        return {one.id: one.state for one in self.every(role)}

    def found(self, *, two_tiers: bool = True) -> None:
        private, address = self.key("root")
        der = certify_itself(profile("root"), parse_name("CN=최상위,O=보기,C=KR"), private, self.at)
        with self.database.writing() as connection:
            add(connection, "root", der, address, state=CURRENT, crl_days=365)
        if two_tiers:
            self.prepare("issuing", "CN=발급,O=보기,C=KR")
            rollover.switch(self.scene, "issuing")
        for name in self.states("root"):
            self.scene.publish(name)

    def prepare(self, role: str, name: str | None = None) -> Key:
        private, address = self.key(f"{role}{len(self.private)}")
        return rollover.prepare(self.scene, role, private, address, parse_name(name) if name else None)

    def issue(self) -> bytes:
        """A subscriber's certificate by whatever issues now."""
        with self.database.reading() as connection:
            issuer = issuer_now(connection)
        der = certify(
            profile("personal"), parse_name("CN=홍길동,C=KR"), new_key().public_key(), self.scene.above(issuer)
        )
        with self.database.writing() as connection:
            record(connection, der, "personal", issuer.id, self.at)
        return der

    def chain(self, name: str | None = None) -> tuple[bytes, ...]:
        with self.database.reading() as connection:
            issuer = self.named(name) if name else issuer_now(connection)
            return chains.chain_of(connection, issuer, self.at)

    def verify(self, der: bytes, root: str, chain: tuple[bytes, ...], *more: str) -> None:
        """OpenSSL, strictly, with every revocation list, trusting that one root."""
        trusted, untrusted, lists, one = (self.folder / name for name in ("t.pem", "u.pem", "l.pem", "one.pem"))
        pem(trusted, self.named(root).certificate_der)
        pem(untrusted, *chain)
        pem(one, der)
        found = [path.read_bytes() for path in sorted(self.folder.glob("*.crl"))]
        lists.write_bytes(b"".join(x509.load_der_x509_crl(each).public_bytes(Encoding.PEM) for each in found))
        moment = f"{int((self.at + timedelta(minutes=1)).timestamp())}"
        words = ["-x509_strict", "-check_ss_sig", "-crl_check_all", "-CRLfile", lists, "-attime", moment, *more]
        words = ["openssl", "verify", "-CAfile", trusted, "-untrusted", untrusted, *words, one]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
        assert done.returncode == 0, (root, done.stderr)


def pem(path: Path, *ders: bytes) -> None:
    path.write_bytes(b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in ders))


def load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


@pytest.fixture
def empty(tmp_path: Path, database_url: str) -> Iterator[House]:
    database = Database.create(database_url)
    yield House(tmp_path, database)
    database.close()


@pytest.fixture
def house(empty: House) -> House:
    empty.found()
    return empty


def test_the_issuing_key_rolls_over_without_a_gap(house: House) -> None:
    """Issued before, while it waits and after: all verify with the one root; the old key goes on with its list."""
    old = house.issue()
    waiting = house.prepare("issuing")
    assert (waiting.id, waiting.state, waiting.certificate.subject) == ("issuing-2", NEXT, load(old).issuer)
    meanwhile = house.issue()
    assert load(meanwhile).issuer == load(old).issuer
    load(meanwhile).verify_directly_issued_by(house.named("issuing").certificate)
    before = house.chain()
    for der in (old, meanwhile):
        house.verify(der, "root", before)
    assert rollover.switch(house.scene, "issuing").id == "issuing-2"
    assert house.states("issuing") == {"issuing": RETIRING, "issuing-2": CURRENT}
    new = house.issue()
    load(new).verify_directly_issued_by(house.named("issuing-2").certificate)
    after = house.chain()
    assert after[0] == house.named("issuing-2").certificate_der
    for der, chain in ((old, before), (meanwhile, before), (new, after), (old, before + after), (new, before + after)):
        house.verify(der, "root", chain)


def test_the_old_key_retires_when_its_last_certificate_has_expired(house: House) -> None:
    """Not before, and the day is named; its responder goes with it."""
    delegates.add_delegate(house.scene, "ocsp", *house.key("ocsp"))
    house.issue()
    house.prepare("issuing")
    rollover.switch(house.scene, "issuing")
    with pytest.raises(NotPermitted, match=f"until {FOUNDED + timedelta(days=365):%Y-%m-%d}"):
        rollover.retire(house.scene, "issuing")
    house.at += timedelta(days=366)
    assert [one.id for one in rollover.retire(house.scene, "issuing")] == ["issuing"]
    assert house.states("issuing") == {"issuing": RETIRED, "issuing-2": CURRENT}
    assert house.states("ocsp") == {"ocsp": RETIRED, "ocsp-2": CURRENT}
    with pytest.raises(NothingToDo):
        rollover.retire(house.scene, "issuing")


@about_certificates
def test_the_root_rolls_over_and_both_roots_are_good(house: House) -> None:
    """In every phase, whoever knows the old root or only the new one can verify everything, old and new."""
    issued = [house.issue()]
    old_chain = house.chain()
    new_root = house.prepare("root")
    assert (new_root.id, new_root.certificate.subject) == ("root-2", house.named("root").certificate.subject)
    issued.append(house.issue())
    for der in issued:
        house.verify(der, "root", old_chain)
        for root in ("root", "root-2"):
            house.verify(der, root, house.chain())
    rollover.switch(house.scene, "root")
    assert house.states("root") == {"root": RETIRING, "root-2": CURRENT}
    issued.append(house.issue())
    for der in issued:
        for root in ("root", "root-2"):
            house.verify(der, root, house.chain())
    house.prepare("issuing")
    load(house.named("issuing-2").certificate_der).verify_directly_issued_by(house.named("root-2").certificate)
    rollover.switch(house.scene, "issuing")
    last = house.issue()
    for root in ("root", "root-2"):
        house.verify(last, root, house.chain())
        for der in issued:
            house.verify(der, root, house.chain("issuing"))
    assert house.chain()[-1] == house.named("root-2").certificate_der


@about_certificates
def test_a_third_root_leads_back_to_the_first(house: House) -> None:
    """Over two bridges; a client is told of the newest root whichever it knows, as far as a bridge leads there."""
    for _ in range(2):
        house.prepare("root")
        rollover.switch(house.scene, "root")
    house.prepare("issuing")
    rollover.switch(house.scene, "issuing")
    der = house.issue()
    for root in ("root", "root-2", "root-3"):
        house.verify(der, root, house.chain())
    with house.database.reading() as connection:
        for root in ("root", "root-2"):
            update = chains.root_update(connection, house.at, house.named(root).certificate_der)
            assert update.new_with_new_der == house.named("root-3").certificate_der
            assert (update.new_with_old_der is None) == (root == "root")


@about_certificates
def test_a_root_that_issues_itself_rolls_over_too(empty: House) -> None:
    """One tier: what issues is the root; its successor's certificates verify with the old root as well."""
    empty.found(two_tiers=False)
    old = empty.issue()
    empty.prepare("root")
    rollover.switch(empty.scene, "root")
    new = empty.issue()
    for root in ("root", "root-2"):
        empty.verify(new, root, empty.chain())
        empty.verify(old, root, empty.chain("root"))


def test_a_root_alone_gets_an_issuing_key_below_it(empty: House) -> None:
    """It needs a name; from the switch on that key issues, and the root can go offline."""
    empty.found(two_tiers=False)
    old = empty.issue()
    with pytest.raises(Usage, match="needs a name"):
        empty.prepare("issuing")
    empty.prepare("issuing", "CN=발급,C=KR")
    rollover.switch(empty.scene, "issuing")
    new = empty.issue()
    load(new).verify_directly_issued_by(empty.named("issuing").certificate)
    for der in (old, new):
        empty.verify(der, "root", empty.chain())
    assert empty.states("root") == {"root": CURRENT}


def test_what_a_client_is_told_of_a_new_root(house: House) -> None:
    """Nothing before there is one; then the new root and one certificate each way, from its publication on."""
    with house.database.reading() as connection:
        assert chains.root_update(connection, house.at) is None
    house.prepare("root")
    old, new = house.named("root"), house.named("root-2")
    for _ in range(2):
        with house.database.reading() as connection:
            update = chains.root_update(connection, house.at, old.certificate_der)
            assert chains.root_update(connection, house.at, new.certificate_der) is None
        assert update.new_with_new_der == new.certificate_der
        new_with_old, old_with_new = load(update.new_with_old_der), load(update.old_with_new_der)
        new_with_old.verify_directly_issued_by(old.certificate)
        old_with_new.verify_directly_issued_by(new.certificate)
        assert new_with_old.public_key() == new.certificate.public_key()
        assert old_with_new.public_key() == old.certificate.public_key()
        assert old_with_new.not_valid_after_utc == old.certificate.not_valid_after_utc
        if house.states("root")["root-2"] == NEXT:
            rollover.switch(house.scene, "root")


@about_certificates
def test_everything_in_a_hierarchy_passes_pkilint(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both generations of both, the crossings, and every delegate."""
    for role in delegates.ROLES:
        delegates.add_delegate(house.scene, role, *house.key(role))
    house.prepare("root")
    rollover.switch(house.scene, "root")
    house.prepare("issuing")
    rollover.switch(house.scene, "issuing")
    ders = {one.certificate_der for one in house.every()} | set(house.chain()) | set(house.chain("issuing"))
    keys_that_issue, crossings, answering = 4, 2, 2
    assert len(ders) == keys_that_issue + crossings + answering + len(delegates.ROLES) - 1
    for der in ders:
        check_addresses(house, load(der))
    for der in ders:
        (tmp_path / "one.der").write_bytes(der)
        status = lint_pkix_cert.main(["lint", "-s", "NOTICE", str(tmp_path / "one.der")])
        assert (status, capsys.readouterr().out.strip()) == (0, "")


def check_addresses(house: House, certificate: x509.Certificate) -> None:
    """What a certificate says of its issuer and its list is about the key that signed it; a root says nothing."""
    (signer,) = [one for one in house.every("root", "issuing") if is_signed_by(certificate, one.certificate)]
    places = [one.value for one in certificate.extensions if isinstance(one.value, x509.CRLDistributionPoints)]
    said = [point.full_name[0].value for place in places for point in place]
    has_list = signer.certificate != certificate and not signer_of_answers(certificate)
    assert said == ([f"{BASE}/crl/{signer.id}.crl"] if has_list else [])


def signer_of_answers(certificate: x509.Certificate) -> bool:
    return any(isinstance(one.value, x509.OCSPNoCheck) for one in certificate.extensions)


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, InvalidSignature):
        return False
    return True


@about_certificates
@pytest.mark.parametrize("role", delegates.ROLES)
def test_delegates_are_certified_and_verify(house: House, role: str) -> None:
    """By the issuing key, for their purpose, named after it unless told otherwise."""
    made = delegates.add_delegate(house.scene, role, *house.key(role))
    assert (made.id, made.state) == (role, CURRENT)
    assert made.certificate.subject == parse_name(f"CN=발급 {delegates.TITLES[role]},O=보기,C=KR")
    purpose = {"ocsp": "ocsphelper", "tsa": "timestampsign"}.get(role)
    house.verify(made.certificate_der, "root", house.chain(), *(("-purpose", purpose) if purpose else ()))


def test_a_delegate_that_was_added_twice(house: House) -> None:
    """The same key is its own answer; another takes over; a key that signs certificates is never one."""
    private, address = house.key("ocsp")
    first = delegates.add_delegate(house.scene, "ocsp", private, address)
    assert delegates.add_delegate(house.scene, "ocsp", private, address) == first
    delegates.add_delegate(house.scene, "ocsp", *house.key("other"))
    assert house.states("ocsp") == {"ocsp": RETIRING, "ocsp-2": CURRENT}
    with pytest.raises(NotPermitted, match="'issuing' already"):
        delegates.add_delegate(house.scene, "cmp", house.open("issuing"), "pkcs11:object=issuing")
    with pytest.raises(NotPermitted, match="rsa-1024"):
        delegates.add_delegate(house.scene, "tsa", rsa.generate_private_key(65537, 1024), "pkcs11:object=weak")


def test_delegates_are_renewed_before_they_expire(house: House) -> None:
    """In their window, for the same key; each by the key it must be by; nothing is renewed twice."""
    for role in delegates.ROLES:
        delegates.add_delegate(house.scene, role, *house.key(role))
    assert delegates.renew_delegates(house.scene) == []
    house.at += timedelta(days=21)
    house.prepare("issuing")
    rollover.switch(house.scene, "issuing")
    renewed = delegates.renew_delegates(house.scene)
    assert [one.id for one in renewed] == ["ocsp"]
    renewed[0].certificate.verify_directly_issued_by(house.named("issuing").certificate)
    assert renewed[0].certificate.not_valid_after_utc == house.at + timedelta(days=30)
    assert renewed[0].certificate.public_key() == house.open("ocsp").public_key()
    assert delegates.renew_delegates(house.scene) == []
    house.at += timedelta(days=45)
    (cmp,) = [one for one in delegates.renew_delegates(house.scene) if one.role == "cmp"]
    cmp.certificate.verify_directly_issued_by(house.named("issuing-2").certificate)
    house.named("ocsp-2").certificate.verify_directly_issued_by(house.named("issuing-2").certificate)


def test_another_key_does_not_slip_in(house: House) -> None:
    """A second preparation is refused while one waits; the first key again is its own answer."""
    private, address = house.key("next")
    first = rollover.prepare(house.scene, "issuing", private, address)
    assert rollover.prepare(house.scene, "issuing", private, address) == first
    with pytest.raises(AlreadyExists, match="next key"):
        house.prepare("issuing")
    with pytest.raises(NotPermitted, match="'issuing' already"):
        rollover.prepare(house.scene, "root", house.open("issuing"), "pkcs11:object=issuing")
    with pytest.raises(NothingToDo):
        rollover.switch(house.scene, "root")


@pytest.mark.parametrize("role", rollover.ROLES)
def test_the_same_key_prepared_by_two_runs_at_once_waits_once(
    house: House, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slower one has the answer of the faster: nothing is left waiting after the switch."""
    prove = rollover.prove_possession
    private, address = house.key(f"{role}-2")

    def overtaken(*arguments: Any) -> None:
        monkeypatch.setattr(rollover, "prove_possession", prove)
        rollover.prepare(house.scene, role, private, address)
        prove(*arguments)

    monkeypatch.setattr(rollover, "prove_possession", overtaken)
    assert rollover.prepare(house.scene, role, private, address).id == f"{role}-2"
    with house.database.reading() as connection:
        assert [one.state for one in keys(connection, role)] == [CURRENT, NEXT]


def test_two_switches_at_once_are_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower one has the answer of the faster: one responder answers for the new key, and one row says so."""
    delegates.add_delegate(house.scene, "ocsp", *house.key("responder"))
    house.prepare("issuing")
    prove = rollover.prove_possession

    def overtaken(*arguments: Any) -> None:
        monkeypatch.setattr(rollover, "prove_possession", prove)
        rollover.switch(house.scene, "issuing")
        prove(*arguments)

    monkeypatch.setattr(rollover, "prove_possession", overtaken)
    switched = rollover.switch(house.scene, "issuing")
    assert (switched.id, switched.state) == ("issuing-2", CURRENT)
    assert house.states("issuing") == {"issuing": RETIRING, "issuing-2": CURRENT}
    assert house.states("ocsp") == {"ocsp": RETIRING, "ocsp-2": CURRENT}
    told = [one.subject for one in entries(house.database) if one.event == "signer-switched"]
    assert told.count("issuing-2") == 1


def test_a_key_that_is_not_the_prepared_one_never_takes_over(house: House) -> None:
    """It signs a challenge first; what waits goes on waiting."""
    waiting = house.prepare("issuing")
    house.private[waiting.key_address] = new_key()
    with pytest.raises(CertificateUnusable, match="does not belong"):
        rollover.switch(house.scene, "issuing")
    assert house.states("issuing") == {"issuing": CURRENT, "issuing-2": NEXT}


@about_certificates
@pytest.mark.parametrize("step", ["prepare", "switch", "retire"])
def test_what_is_killed_while_a_list_is_published_is_run_again(house: House, step: str) -> None:
    """Before the switch the old key signs, and the next run takes it from there."""
    private, address = house.key("next")
    steps = {
        "prepare": lambda scene: rollover.prepare(scene, "issuing", private, address),
        "switch": lambda scene: rollover.switch(scene, "issuing"),
        "retire": lambda scene: rollover.retire(scene, "issuing"),
    }
    for name, do in steps.items():
        if name == step:
            before = house.states("issuing")
            with pytest.raises(KeyboardInterrupt):
                do(replace(house.scene, publish=killed))
            assert {**before, "issuing-2": NEXT} == {**house.states("issuing"), "issuing-2": NEXT}
        do(house.scene)
    assert house.states("issuing") == {"issuing": RETIRED, "issuing-2": CURRENT}


def killed(_signer: str) -> None:
    raise KeyboardInterrupt


def test_another_authority_is_cross_signed(house: House, tmp_path: Path) -> None:
    """Its subscribers verify with our root; its key keeps the name it calls itself; the certificate can be revoked."""
    other_key, user_key = new_key(), new_key()
    own = replace_path_length(0)
    other = load(certify_itself(own, parse_name("CN=다른 기관,C=KR"), other_key, house.at))
    theirs = sign_leaf(other, other_key, user_key, house.at)
    crossing = rollover.cross_certify(house.scene, other)
    assert rollover.cross_certify(house.scene, other) == crossing
    (tmp_path / "their.crl").write_bytes(their_list(other, other_key, house.at))
    house.scene.publish("root")
    house.verify(theirs, "root", (crossing,))
    with house.database.reading() as connection:
        from dojang.authority.tables import certificate

        row = connection.execute(certificate.select().where(certificate.c.profile == "cross")).one()
    assert (row.signer, row.certificate_der) == ("root", crossing)


def replace_path_length(length: int | None) -> Any:
    return replace(profile("root"), path_length=length)


def sign_leaf(issuer: x509.Certificate, key: Any, holder: Any, at: datetime) -> bytes:
    from dojang.authority.certificate import Draft, sign_certificate

    draft = Draft(
        profile("personal"), parse_name("CN=그들의 사람"), holder.public_key(), (), at, at + timedelta(days=9)
    )
    return sign_certificate(draft, issuer, key, 7)


def their_list(issuer: x509.Certificate, key: Any, at: datetime) -> bytes:
    from dojang.authority.status.list_signing import Scope, sign_list

    return sign_list(issuer, key, (), Scope(1, at, at + timedelta(days=9)))


@about_certificates
def test_what_cannot_be_cross_signed(house: House) -> None:
    """A subscriber's certificate, an expired one, a weak key, our own; and no more authorities below than our root
    allows."""
    with pytest.raises(CertificateUnusable, match="the very key"):
        rollover.cross_certify(house.scene, house.named("root").certificate)
    with pytest.raises(CertificateUnusable, match="not an authority's"):
        rollover.cross_certify(house.scene, load(house.issue()))
    expired = load(certify_itself(profile("root"), parse_name("CN=x"), new_key(), house.at - timedelta(days=8000)))
    with pytest.raises(CertificateUnusable, match="expired"):
        rollover.cross_certify(house.scene, expired)
    deep = load(certify_itself(replace_path_length(None), parse_name("CN=x"), new_key(), house.at))
    crossing = load(rollover.cross_certify(house.scene, deep))
    assert crossing.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    above = house.scene.above(house.named("issuing"))
    with pytest.raises(CertificateUnusable, match="no authority may stand below"):
        cross_sign(deep, above)


def test_a_server_knows_which_keys_to_leave_alone(house: House) -> None:
    """The roots of every generation, from the preparation on."""
    house.prepare("root")
    with house.database.reading() as connection:
        assert root_addresses(connection) == {one.key_address for one in house.every("root")}
    assert len(house.every("root")) == 2
