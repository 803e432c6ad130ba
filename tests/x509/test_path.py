"""Certification paths: every check, each one failing on its own."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.x509.issuer import USAGES

from dojang.errors import FileMalformed
from dojang.x509.path import PathReport, check_path

AT = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
CA = ((x509.BasicConstraints(True, None), True),)
SHA1_KEY = rsa.generate_private_key(65537, 2048)


def usage(*names: str) -> tuple[x509.ExtensionType, bool]:
    return x509.KeyUsage(**{name: name in names for name in USAGES}), True


@dataclass
class Party:
    """Somebody with a key and a certificate."""

    certificate: x509.Certificate
    key: Any
    der: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.der = self.certificate.public_bytes(Encoding.DER)


def make(
    name: str,
    issuer: Party | None = None,
    *,
    key: Any = None,
    extensions: Any = (),
    start: dt.datetime = AT - 10 * DAY,
    end: dt.datetime = AT + 10 * DAY,
    hash_algorithm: Any = None,
) -> Party:
    key = key or ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signing = issuer.key if issuer else key
    builder = x509.CertificateBuilder(
        issuer.certificate.subject if issuer else own, own, key.public_key(), x509.random_serial_number(), start, end
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    plain = isinstance(signing, ed25519.Ed25519PrivateKey)
    return Party(builder.sign(signing, None if plain else hash_algorithm or hashes.SHA256()), key)


def crl_of(issuer: Party, *revoked: tuple[Party, str], start: dt.datetime = AT - DAY, **options: Any) -> bytes:
    builder = x509.CertificateRevocationListBuilder(
        issuer.certificate.subject, start, options.get("end", start + 7 * DAY)
    )
    for party, reason in revoked:
        entry = x509.RevokedCertificateBuilder(party.certificate.serial_number, options.get("since", AT - 2 * DAY))
        builder = builder.add_revoked_certificate(
            entry.add_extension(x509.CRLReason(x509.ReasonFlags(reason)), False).build()
        )
    for extension in options.get("extensions", ()):
        builder = builder.add_extension(extension, True)
    return builder.sign(options.get("key", issuer.key), hashes.SHA256()).public_bytes(Encoding.DER)


def check(leaf: Party, *intermediates: Party, anchor: Party, **options: Any) -> PathReport:
    options.setdefault("at", AT)
    return check_path(
        leaf.der, intermediates_der=[one.der for one in intermediates], anchors_der=[anchor.der], **options
    )


def failed(report: PathReport) -> set[str]:
    return {one.name for one in report.checks if not one.ok}


@pytest.fixture(scope="module")
def root() -> Party:
    return make("root", extensions=CA)


@pytest.fixture(scope="module")
def middle(root: Party) -> Party:
    return make("middle", root, extensions=(*CA, usage("key_cert_sign", "crl_sign")))


def test_a_sound_path_passes_every_check(root: Party, middle: Party) -> None:
    """A leaf without alternative names, extended usage or policies is as good as any; the path is told in order."""
    leaf = make("leaf", middle, extensions=(usage("digital_signature"),))
    report = check(leaf, middle, anchor=root, purpose="signing")
    assert report.ok
    assert report.problems == ()
    assert report.path_der == (leaf.der, middle.der, root.der)
    assert report.revocation == "unknown"
    assert all(one.detail in ("", "unknown") for one in report.checks)


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
def test_every_kind_of_key_can_issue(kind: str) -> None:
    """RSA, ECDSA and Ed25519 signatures all verify."""
    keys = {
        "rsa": SHA1_KEY,
        "ec": ec.generate_private_key(ec.SECP521R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
    }
    top = make("top", key=keys[kind], extensions=CA)
    assert check(make("leaf", top), anchor=top).ok


def test_an_anchor_vouches_for_itself(root: Party) -> None:
    """The path of a trusted certificate is that certificate."""
    assert check(root, anchor=root).path_der == (root.der,)


def test_a_path_without_an_anchor_says_whose_certificate_is_missing(root: Party, middle: Party) -> None:
    """The other checks run all the same."""
    leaf = make("leaf", middle, start=AT + DAY)
    report = check(leaf, anchor=root)
    assert failed(report) == {"path", "validity"}
    assert "CN=middle" in report.problems[0]
    assert "not trusted" in check(leaf, middle, root, anchor=make("other", extensions=CA)).problems[0]


def test_a_forged_signature_is_called_one(root: Party) -> None:
    """The right name over another key is not an issuer."""
    leaf = make("leaf", Party(root.certificate, ec.generate_private_key(ec.SECP256R1())))
    report = check(leaf, anchor=root)
    assert failed(report) == {"path"}
    assert "signature" in report.problems[0]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"start": AT + DAY}, "validity"),
        ({"end": AT - DAY}, "validity"),
        ({"extensions": (usage("key_encipherment"),)}, "key-usage"),
        ({"key": rsa.generate_private_key(65537, 1024)}, "algorithms"),
        ({"key": ec.generate_private_key(ec.SECP192R1())}, "algorithms"),
        (
            {"extensions": ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),)},
            "critical-extensions",
        ),
        ({"extensions": ((x509.NameConstraints([x509.DNSName("a.kr")], None), False),)}, "critical-extensions"),
    ],
)
def test_each_fault_of_the_leaf_fails_its_own_check_alone(root: Party, options: Any, name: str) -> None:
    """One fault, one failed check with a reason."""
    report = check(make("leaf", root, **options), anchor=root, purpose="signing")
    assert failed(report) == {name}
    assert "CN=leaf" in report.problems[0]


def test_the_moment_decides(root: Party) -> None:
    """Valid on its last second, expired on the next."""
    leaf = make("leaf", root, end=AT)
    assert check(leaf, anchor=root).ok
    assert failed(check(leaf, anchor=root, at=AT + dt.timedelta(seconds=1))) == {"validity"}


@pytest.mark.parametrize(
    ("extensions", "name"),
    [
        ((), "basic-constraints"),
        (((x509.BasicConstraints(False, None), True),), "basic-constraints"),
        ((*CA, usage("digital_signature")), "key-usage"),
    ],
)
def test_only_an_authority_issues(root: Party, extensions: Any, name: str) -> None:
    """A subscriber's certificate never stands above another."""
    false = make("false", root, extensions=extensions)
    assert failed(check(make("leaf", false), false, anchor=root)) == {name}


def test_the_length_of_the_path_is_limited(root: Party) -> None:
    """pathLenConstraint 0 allows subscribers and no further authority."""
    short = make("short", root, extensions=((x509.BasicConstraints(True, 0), True),))
    below = make("below", short, extensions=CA)
    assert check(make("leaf", short), short, anchor=root).ok
    assert failed(check(make("leaf", below), below, short, anchor=root)) == {"basic-constraints"}


@pytest.mark.parametrize(
    ("purpose", "listed"),
    [("tls-server", ExtendedKeyUsageOID.CLIENT_AUTH), ("email", ExtendedKeyUsageOID.CODE_SIGNING)],
)
def test_a_listed_purpose_excludes_the_others(root: Party, purpose: str, listed: x509.ObjectIdentifier) -> None:
    """An extended key usage that is there must include the purpose; one that is absent allows it."""
    leaf = make("leaf", root, extensions=((x509.ExtendedKeyUsage([listed]), False),))
    assert failed(check(leaf, anchor=root, purpose=purpose)) == {"extended-key-usage"}
    assert check(leaf, anchor=root).ok
    assert check(make("leaf", root), anchor=root, purpose=purpose).ok


def test_an_authority_as_the_leaf_serves_issuing(root: Party, middle: Party) -> None:
    """And a subscriber's certificate does not."""
    assert check(middle, anchor=root, purpose="issuing").ok
    assert failed(check(make("leaf", root), anchor=root, purpose="issuing")) == {"basic-constraints"}


def test_an_unknown_purpose_is_a_mistake_of_the_caller(root: Party) -> None:
    """It is not silently taken for any."""
    with pytest.raises(ValueError, match="purpose"):
        check(root, anchor=root, purpose="magic")


def _policies(*oids: str) -> tuple[x509.ExtensionType, bool]:
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids]), True


@pytest.mark.parametrize(
    ("above", "leaf", "ok"),
    [
        (("1.2.3",), ("1.2.3",), True),
        (("1.2.3", "1.2.4"), ("1.2.4", "1.2.5"), True),
        (("2.5.29.32.0",), ("1.2.3",), True),
        (("1.2.3",), ("1.2.4",), False),
        (("1.2.3",), (), False),
        ((), ("1.2.3",), False),
    ],
)
def test_a_required_policy_is_required(root: Party, above: tuple[str, ...], leaf: tuple[str, ...], ok: bool) -> None:
    """Critical policies as Korean certificates have them are understood; requireExplicitPolicy is obeyed."""
    policies = (_policies(*above),) if above else ()
    middle = make("middle", root, extensions=(*CA, *policies, (x509.PolicyConstraints(0, None), True)))
    one = make("leaf", middle, extensions=(_policies(*leaf),) if leaf else ())
    assert failed(check(one, middle, anchor=root)) == (set() if ok else {"policies"})


@pytest.mark.parametrize(
    ("reason", "state"), [("keyCompromise", "revoked"), ("unspecified", "revoked"), ("certificateHold", "suspended")]
)
def test_a_listed_certificate_is_revoked_or_suspended(root: Party, reason: str, state: str) -> None:
    """certificateHold is told apart from the rest."""
    leaf = make("leaf", root)
    report = check(leaf, anchor=root, crls_der=[crl_of(root, (leaf, reason))])
    assert failed(report) == {"revocation"}
    assert report.revocation == state
    assert state in report.problems[0]


def test_a_revoked_authority_spoils_the_path(root: Party, middle: Party) -> None:
    """The state of a path is its worst."""
    leaf = make("leaf", middle)
    lists = [crl_of(root, (middle, "cACompromise")), crl_of(middle)]
    assert check(leaf, middle, anchor=root, crls_der=lists).revocation == "revoked"
    assert check(leaf, middle, anchor=root, crls_der=[crl_of(root), crl_of(middle)]).revocation == "good"
    assert check(leaf, middle, anchor=root, crls_der=lists[1:]).revocation == "unknown"


SOME_REASONS = frozenset([x509.ReasonFlags.key_compromise])


def part(**named: Any) -> x509.IssuingDistributionPoint:
    flags = ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs")
    usual = dict.fromkeys(("full_name", "relative_name", "only_some_reasons")) | dict.fromkeys(flags, False)
    return x509.IssuingDistributionPoint(**{**usual, **named})


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def points(*texts: str, **named: Any) -> tuple[x509.ExtensionType, bool]:
    usual = {"relative_name": None, "reasons": None, "crl_issuer": None}
    point = x509.DistributionPoint([uri(text) for text in texts], **{**usual, **named})
    return x509.CRLDistributionPoints([point]), False


def test_a_list_for_part_of_the_certificates_tells_of_those_in_it(root: Party) -> None:
    """Users, authorities, or whoever names the list's own distribution point; nobody else."""
    leaf, other = make("leaf", root, extensions=[points("ldap://list.kr/1")]), make("other", root)
    sliced = part(full_name=[uri("ldap://list.kr/1"), uri("http://list.kr/1.crl")])
    for kind, whom, state in (
        (part(only_contains_user_certs=True), leaf, "revoked"),
        (part(only_contains_ca_certs=True), leaf, "unknown"),
        (sliced, leaf, "revoked"),
        (sliced, other, "unknown"),
        (sliced, make("some", root, extensions=[points("ldap://list.kr/1", reasons=SOME_REASONS)]), "unknown"),
    ):
        listed = crl_of(root, (whom, "keyCompromise"), extensions=[kind])
        assert check(whom, anchor=root, crls_der=[listed]).revocation == state
    below = make("below", root, extensions=CA)
    for kind, state in ((part(only_contains_ca_certs=True), "good"), (part(only_contains_user_certs=True), "unknown")):
        assert check(below, anchor=root, crls_der=[crl_of(root, extensions=[kind])]).revocation == state


def test_lists_that_say_nothing_leave_the_state_unknown(root: Party) -> None:
    """Too old, by another key, partial, or garbage: none of them says good, none of them is an error."""
    leaf, other = make("leaf", root), ec.generate_private_key(ec.SECP256R1())
    for useless in (
        crl_of(root, start=AT - 30 * DAY),
        crl_of(root, (leaf, "keyCompromise"), key=other),
        crl_of(root, (leaf, "keyCompromise"), extensions=[part(only_contains_ca_certs=True)]),
        crl_of(root, (leaf, "keyCompromise"), extensions=[part(only_contains_attribute_certs=True)]),
        crl_of(root, (leaf, "keyCompromise"), extensions=[part(indirect_crl=True)]),
        crl_of(root, (leaf, "keyCompromise"), extensions=[part(only_some_reasons=SOME_REASONS)]),
        crl_of(root, (leaf, "keyCompromise"), extensions=[part(full_name=[uri("ldap://list.kr/1")])]),
        crl_of(root, (leaf, "keyCompromise"), extensions=[x509.DeltaCRLIndicator(1)]),
        crl_of(root, (leaf, "certificateHold"), start=AT - 30 * DAY, since=AT - 31 * DAY),
        b"garbage",
        crl_of(root)[:-1],
    ):
        report = check(leaf, anchor=root, crls_der=[useless])
        assert report.revocation == "unknown"
        assert report.ok
        assert failed(check(leaf, anchor=root, crls_der=[useless], require_revocation=True)) == {"revocation"}


def test_a_list_by_an_authority_that_may_not_sign_lists_says_nothing(root: Party) -> None:
    """cRLSign is needed where key usage is stated."""
    middle = make("middle", root, extensions=(*CA, usage("key_cert_sign")))
    leaf = make("leaf", middle)
    report = check(leaf, middle, anchor=root, crls_der=[crl_of(middle, (leaf, "keyCompromise")), crl_of(root)])
    assert report.revocation == "unknown"


def test_revocation_has_a_moment_and_an_old_list_still_tells(root: Party) -> None:
    """Good before the revocation; revoked after it even by a list out of date; restored by the newer list."""
    leaf = make("leaf", root)
    revoked = crl_of(root, (leaf, "superseded"))
    assert check(leaf, anchor=root, crls_der=[revoked], at=AT - 3 * DAY).revocation == "good"
    assert check(leaf, anchor=root, crls_der=[revoked], at=AT + 9 * DAY).revocation == "revoked"
    held, restored = crl_of(root, (leaf, "certificateHold"), start=AT - 2 * DAY), crl_of(root, start=AT - DAY)
    assert check(leaf, anchor=root, crls_der=[restored, held]).revocation == "good"


def test_the_better_of_two_paths_is_reported(root: Party) -> None:
    """A renewed authority certificate does its work beside the expired one."""
    key = ec.generate_private_key(ec.SECP256R1())
    expired = make("middle", root, key=key, extensions=CA, end=AT - DAY)
    renewed = make("middle", root, key=key, extensions=CA)
    leaf = make("leaf", renewed)
    for order in ((expired, renewed), (renewed, expired)):
        assert check(leaf, *order, anchor=root).path_der == (leaf.der, renewed.der, root.der)


@pytest.mark.timeout(20)
def test_a_maze_of_certificates_ends_soon(root: Party) -> None:
    """Loops and a bag of a hundred issuers of one name cost bounded work."""
    key = ec.generate_private_key(ec.SECP256R1())
    maze = [
        make("maze", Party(make("maze", key=key, extensions=CA).certificate, key), key=key, extensions=CA)
        for _ in range(100)
    ]
    report = check(make("leaf", maze[0]), *maze, anchor=root)
    assert "path" in failed(report)


@pytest.mark.parametrize(
    "der",
    [b"", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80" * 1000, b"\x00" * 10_000_000, b"\x30\x03\x02\x01\x01"],
)
def test_hostile_bytes_are_a_malformed_file(root: Party, der: bytes) -> None:
    """As leaf or anchor they are FileMalformed, as intermediate or list they are passed over."""
    good = make("leaf", root)
    with pytest.raises(FileMalformed):
        check_path(der, intermediates_der=(), anchors_der=[root.der], at=AT)
    with pytest.raises(FileMalformed):
        check_path(good.der, intermediates_der=(), anchors_der=[der], at=AT)
    assert check_path(good.der, intermediates_der=[der], anchors_der=[root.der], crls_der=[der], at=AT).ok


def test_truncated_and_damaged_certificates_never_surprise(root: Party) -> None:
    """Every prefix and every single damaged byte gives a report or FileMalformed, and never a path that holds."""
    leaf = make("leaf", root, extensions=(usage("digital_signature"), _policies("1.2.3")))
    damaged = [leaf.der[:length] for length in range(len(leaf.der))]
    damaged += [leaf.der[:i] + bytes([leaf.der[i] ^ 0xFF]) + leaf.der[i + 1 :] for i in range(len(leaf.der))]
    for der in damaged:
        try:
            report = check_path(der, intermediates_der=[], anchors_der=[root.der], at=AT, purpose="signing")
        except FileMalformed:
            continue
        assert not report.ok
