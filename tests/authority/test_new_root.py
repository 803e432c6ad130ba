"""What is offered as a new root: which is believed, and why the others are not."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.authority.new_root import ROOT_CA_KEY_UPDATE, check_update, question_about, update_in
from dojang.cmp.bodies import General, Information, Kind
from dojang.cmp.faults import CmpFault
from dojang.cmp.schema import RootUpdate, encode
from dojang.errors import AuthorityUntrusted
from dojang.x509.name import parse_name

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@dataclass(frozen=True)
class Root:
    """A name and a key, and what it says of others."""

    name: str
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def certify(
        self, other: "Root", *, ca: bool = True, days: int = 100, length: int | None = None, names: str | None = None
    ) -> x509.Certificate:
        subject, issuer = parse_name(f"CN={other.name}"), parse_name(f"CN={self.name}")
        number, begin, end = x509.random_serial_number(), NOW - timedelta(200), NOW + timedelta(days)
        builder = x509.CertificateBuilder(issuer, subject, other.key.public_key(), number, begin, end)
        if names is not None:
            builder = builder.add_extension(x509.NameConstraints([x509.DNSName(names)], None), critical=True)
        return builder.add_extension(x509.BasicConstraints(ca, length), critical=True).sign(self.key, SHA256())


OLD, BETWEEN, NEW, STRANGER = Root("Root"), Root("Root"), Root("Root"), Root("Root")
ISSUING, AFTER_ISSUING, OTHER = Root("Issuing"), Root("Issuing"), Root("Other root")
GOOD = RootUpdate(new_with_new=NEW.certify(NEW), new_with_old=OLD.certify(NEW), old_with_new=NEW.certify(OLD))


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


ROOT_DER = der(OLD.certify(OLD))


@pytest.mark.parametrize(
    ("update", "others"),
    [
        (GOOD, ()),
        (replace(GOOD, old_with_new=None), ()),
        (replace(GOOD, new_with_old=None), (BETWEEN.certify(NEW), OLD.certify(BETWEEN))),
    ],
    ids=["both ways", "one way", "by way of another"],
)
def test_a_root_that_the_old_one_vouches_for_is_believed(update: RootUpdate, others: tuple[x509.Certificate, ...]):
    """By itself, or by way of a root between them."""
    assert check_update("ca", ROOT_DER, update, map(der, others), NOW) == der(GOOD.new_with_new)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"new_with_old": None}, "does not vouch"),
        ({"new_with_old": ISSUING.certify(NEW)}, "no trusted certificate"),
        ({"new_with_old": STRANGER.certify(NEW)}, "does not verify"),
        ({"new_with_old": OLD.certify(STRANGER)}, "does not vouch"),
        ({"new_with_old": OLD.certify(BETWEEN)}, "does not vouch"),
        ({"new_with_old": OLD.certify(NEW, ca=False)}, "not an authority"),
        ({"new_with_old": OLD.certify(NEW, days=-1)}, "expired"),
        ({"new_with_new": NEW.certify(NEW, days=-1)}, "expired"),
        ({"new_with_new": NEW.certify(NEW, ca=False)}, "not an authority"),
        ({"new_with_new": OLD.certify(NEW)}, "not signed by itself"),
        ({"new_with_new": STRANGER.certify(STRANGER)}, "does not vouch"),
        ({"old_with_new": OLD.certify(OLD)}, "another one than the old"),
        ({"old_with_new": NEW.certify(BETWEEN)}, "another one than the old"),
        ({"old_with_new": STRANGER.certify(OLD)}, "another one than the old"),
    ],
)
def test_a_root_that_it_does_not_vouch_for_is_not(changes: dict[str, Any], problem: str):
    """Whatever is wrong with one of the three is said."""
    with pytest.raises(AuthorityUntrusted, match=problem):
        check_update("ca", ROOT_DER, replace(GOOD, **changes), (), NOW)


@pytest.mark.parametrize("length", [0, None])
@pytest.mark.parametrize("new", [AFTER_ISSUING, OTHER, NEW], ids=["its own name", "any name", "the root's name"])
def test_an_issuing_authority_can_plant_no_root(new: Root, length: int | None):
    """Under whatever name, and however many authorities it may have below it: one of its own name counts for none."""
    update = RootUpdate(new_with_new=new.certify(new), new_with_old=ISSUING.certify(new), old_with_new=None)
    others = [der(OLD.certify(ISSUING, length=length))]
    for asked in (update, replace(update, new_with_old=None)):
        with pytest.raises(AuthorityUntrusted):
            check_update("ca", ROOT_DER, asked, [*others, der(ISSUING.certify(new))], NOW)


def test_another_authority_that_the_root_certified_becomes_no_root():
    """It is believed for as long as that certificate says, and no longer."""
    update = RootUpdate(
        new_with_new=OTHER.certify(OTHER), new_with_old=OLD.certify(OTHER), old_with_new=OTHER.certify(OLD)
    )
    with pytest.raises(AuthorityUntrusted, match="another name"):
        check_update("ca", ROOT_DER, update, (), NOW)


def test_a_root_that_constrains_names_has_no_successor_without_that():
    """Constraints are not compared: neither what the old one has nor what the new one has is understood."""
    with pytest.raises(AuthorityUntrusted, match="constrains names"):
        check_update("ca", der(OLD.certify(OLD, names="example")), GOOD, (), NOW)
    with pytest.raises(AuthorityUntrusted, match="not understood"):
        check_update("ca", ROOT_DER, replace(GOOD, new_with_new=NEW.certify(NEW, names="example")), (), NOW)


def test_an_answer_without_a_root_is_none():
    """Nothing, the question said again, another kind of answer; what cannot be decoded is a fault."""
    (asked,) = question_about(ROOT_DER).items
    for items in ((), (asked,), (Information(ROOT_CA_KEY_UPDATE),), (Information("1.2.3.4", b"\x05\x00"),)):
        assert update_in(General(Kind.GENP, items)) is None
    found = update_in(General(Kind.GENP, (asked, Information(ROOT_CA_KEY_UPDATE, encode(GOOD)))))
    assert found is not None
    assert (found.new_with_new, found.new_with_old) == (GOOD.new_with_new, GOOD.new_with_old)
    with pytest.raises(CmpFault):
        update_in(General(Kind.GENP, (Information(ROOT_CA_KEY_UPDATE, b"\x05\x00"),)))
