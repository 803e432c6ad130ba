"""What an office does: applicants, identity checks, approvals by a second person."""

import hashlib
import json

import pytest

from dojang.authority.audit import acting
from dojang.authority.enrolment import EnrolmentPolicy, Office, Terms
from dojang.authority.enrolment.policy import ProfileRule, policy_from
from dojang.errors import AlreadyExists, CodeRefused, NotFound, NotPermitted, Usage
from dojang.secret import Secret

HONG = Terms("personal", "CN=Hong")
EVIDENCE = hashlib.sha256(b"a copy of a passport").digest()


def test_a_profile_that_wants_checks(bureau) -> None:
    """Its code works once every check is on record, with who, when and the hash of the evidence."""
    bureau.wants("personal", "in-person", "email")
    applicant = bureau.office.add_applicant("person", "홍길동", {"email": "hong@example.com"})
    handed = bureau.hand_out(HONG, applicant=applicant.id)
    reference = handed.enrolment.reference
    assert handed.enrolment.state == "drafted"
    with pytest.raises(CodeRefused):
        bureau.guess(reference, handed.code.reveal())
    with acting("officer:7"):
        check = bureau.office.record_check(applicant.id, "in-person", EVIDENCE)
    assert (check.checked_by, check.evidence_hash, check.checked_at) == ("officer:7", EVIDENCE, bureau.at)
    assert bureau.office.standing(reference).checks_missing == ("email",)
    bureau.office.record_check(applicant.id, "email", EVIDENCE)
    assert bureau.guess(reference, handed.code.reveal())
    found, checks, enrolments = bureau.office.applicant(applicant.id)
    assert found == applicant
    assert {one.kind for one in checks} == {"in-person", "email"}
    assert [one.reference for one in enrolments] == [reference]
    assert ("check-recorded", "officer:7", applicant.id) in bureau.audited()


def test_a_check_counts_for_everything_that_waits_for_it(small) -> None:
    """However many certificates one applicant is to get."""
    small.wants("personal", "email")
    applicant = small.office.add_applicant("business", "Example", {}).id
    for _ in range(101):
        small.hand_out(HONG, applicant=applicant)
    small.office.record_check(applicant, "email", EVIDENCE)
    assert small.office.enrolments(states=("drafted",)) == []


def test_a_code_before_the_checks_needs_somebody_who_vouches(small) -> None:
    """Without an applicant it is refused, pre-authorised it works at once, unless the authority forbids that."""
    small.wants("personal", "in-person")
    with pytest.raises(NotPermitted) as refused:
        small.hand_out(HONG)
    assert "in-person" in str(refused.value)
    handed = small.hand_out(HONG, pre_authorised=True)
    assert handed.enrolment.pre_authorised
    assert small.guess(handed.enrolment.reference, handed.code.reveal())
    small.policy = EnrolmentPolicy(by_profile={"personal": ProfileRule("none", False)})
    with pytest.raises(NotPermitted):
        small.hand_out(HONG, pre_authorised=True)
    with pytest.raises(NotFound):
        small.hand_out(HONG, applicant="nobody")
    assert len(small.office.enrolments()) == 1


def test_somebody_else_approves(bureau) -> None:
    """Where four eyes are wanted, who registered cannot approve; another one can, once, and then the code works."""
    bureau.policy = EnrolmentPolicy(usual=ProfileRule("people", True))
    handed = bureau.hand_out(HONG, actor="local:kim")
    reference = handed.enrolment.reference
    with pytest.raises(CodeRefused) as refused:
        bureau.guess(reference, handed.code.reveal())
    assert refused.value.facts["state"] == "waiting"
    with acting("local:kim"), pytest.raises(NotPermitted):
        bureau.office.approve(reference)
    with acting("local:lee"):
        assert bureau.office.approve(reference).state == "ready"
    with acting("local:park"), pytest.raises(NotPermitted):
        bureau.office.approve(reference)
    assert bureau.guess(reference, handed.code.reveal())
    assert ("enrolment-approved", "local:lee", reference) in bureau.audited()


def test_two_officers_approve(small) -> None:
    """Where officers are wanted, only their voices count: two of them, the one who registered among them or not."""
    small.policy = EnrolmentPolicy(by_profile={"personal": ProfileRule("officers", True)})
    ours = small.hand_out(HONG, actor="local:kim").enrolment.reference
    with acting("local:lee"), pytest.raises(NotPermitted) as refused:
        small.office.approve(ours)
    assert "--officer" in refused.value.advice()
    with acting("officer:1"):
        assert small.office.approve(ours, b"signed by 1").state == "waiting"
        with pytest.raises(NotPermitted):
            small.office.approve(ours, b"again")
    with acting("officer:2"):
        assert small.office.approve(ours, b"signed by 2").state == "ready"
    theirs = small.hand_out(HONG, actor="officer:1").enrolment.reference
    with acting("officer:1"), pytest.raises(NotPermitted):
        small.office.approve(theirs)
    with acting("officer:2"):
        assert small.office.approve(theirs).state == "ready"
    with small.database.reading() as connection:
        kept = connection.exec_driver_sql("SELECT evidence FROM approval WHERE subject = ? ORDER BY officer", (ours,))
        assert list(kept.scalars()) == [b"signed by 1", b"signed by 2"]


def test_an_officer_changes_his_mind(small) -> None:
    """Who has approved can still refuse while another approval is missing; all three orders are kept."""
    small.policy = EnrolmentPolicy(usual=ProfileRule("officers", True))
    reference = small.hand_out(HONG, actor="local:kim", evidence=b"registered").enrolment.reference
    with acting("officer:1"):
        small.office.approve(reference, b"yes")
        assert small.office.refuse(reference, "on second thoughts", b"no").state == "refused"
    with small.database.reading() as connection:
        kept = connection.exec_driver_sql("SELECT evidence FROM approval WHERE subject = ?", (reference,)).scalars()
        assert set(kept) == {b"registered", b"yes", b"no"}


def test_an_unlocked_code_still_waits(small) -> None:
    """Unlocking is no approval."""
    small.policy = EnrolmentPolicy(tries=1, usual=ProfileRule("people", True))
    reference = small.hand_out(HONG).enrolment.reference
    assert not small.guess(reference, b"0" * 16)
    assert small.office.enrolment(reference).state == "locked"
    assert small.office.unlock(reference).state == "waiting"


def test_refused_and_cancelled_for_good(small) -> None:
    """Neither comes back; the reason is kept."""
    small.policy = EnrolmentPolicy(usual=ProfileRule("people", True))
    first, second = small.hand_out(HONG), small.hand_out(HONG)
    assert small.office.refuse(first.enrolment.reference, "not the person").reason == "not the person"
    assert small.office.cancel(second.enrolment.reference).state == "cancelled"
    for one in (first, second):
        reference = one.enrolment.reference
        for move in (small.office.approve, small.office.unlock, small.office.cancel):
            with pytest.raises(NotPermitted):
                move(reference)
        with pytest.raises(CodeRefused):
            small.guess(reference, one.code.reveal())
        with pytest.raises(CodeRefused):
            small.take(reference)


def test_a_number_is_known_again_and_kept_nowhere(bureau, tmp_path) -> None:
    """The second applicant with it is the first; the database has no digit of it."""
    number = Secret("9001011234567")
    first = bureau.office.add_applicant("person", "홍길동", {}, number)
    assert first.has_number
    with pytest.raises(AlreadyExists) as again:
        bureau.office.add_applicant("person", "홍길순", {}, Secret("900101-1234567"))
    assert first.id in again.value.advice()
    other = bureau.office.add_applicant("business", "Example", {}, Secret("1234567890"))
    bureau.office.add_applicant("business", "Example", {})
    with bureau.database.reading() as connection:
        rows = (
            connection.exec_driver_sql("SELECT * FROM applicant").all()
            + connection.exec_driver_sql("SELECT * FROM audit").all()
        )
    assert "9001011234567" not in repr(rows)
    assert hashlib.sha256(b"9001011234567").digest() not in [value for row in rows for value in row]
    assert other.kind == "business"
    assert len(bureau.office.applicants()) == 3


@pytest.mark.parametrize(
    "contact",
    [
        *({"phone": text} for text in ("five", "010-123", "060-700-1234", "+82 60 700 1234", "010-1234-5678 ext 2")),
        *({"email": text} for text in ("hong", "hong@localhost", "a@b@example.com", "Hong <hong@example.com>")),
        {"email": "=?utf-8?q?kim=40example.net=2C?=@example.com"},
    ],
)
def test_who_cannot_be_reached_is_not_registered(small, contact: dict[str, str]) -> None:
    """A slip is noticed while somebody is there who can mend it; then, too, when it is mended."""
    one = small.office.add_applicant("person", "Hong", {"phone": "010-1234-5678", "email": "hong@example.com"})
    with pytest.raises(Usage, match="cannot be used"):
        small.office.add_applicant("person", "Hong", contact)
    with pytest.raises(Usage, match="cannot be used") as refused:
        small.office.change_applicant(one.id, contact)
    assert not any(text in refused.value.message() for text in contact.values())
    assert small.office.applicants() == [one]


def test_the_countries_of_an_authority(small) -> None:
    """A number in another one is taken where the authority says nothing of them, and refused where it does."""
    american = {"phone": "+1 212 555 0100"}
    assert small.office.add_applicant("person", "Kim", american).contact == american
    office = Office(small.database, "test", small.policy, small.profile, lambda: small.key, lambda: small.at, ("82",))
    with pytest.raises(Usage, match="that country"):
        office.add_applicant("person", "Kim", american)


def test_an_applicant_is_reached_otherwise(bureau) -> None:
    """What is named changes and nothing else; the record says what, and shows no number and no address whole."""
    one = bureau.office.add_applicant("person", "홍길동", {"phone": "010-1234-5678", "language": "en"})
    bureau.office.change_applicant(one.id, {"phone": "010-8765-4321", "email": "hong@example.com"})
    after = bureau.office.change_applicant(one.id, {}, without=["language"])
    assert after.contact == {"phone": "010-8765-4321", "email": "hong@example.com"}
    assert bureau.office.change_applicant(one.id, dict(after.contact)) == after
    assert bureau.office.change_applicant(one.id, {}, without=["phone", "email"]).contact == {}
    with bureau.database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT details FROM audit WHERE event = 'applicant-changed' ORDER BY seq")
        told = [row.details for row in rows]
    assert ["010-****-4321" in text for text in told] == [True, False, False]
    assert not any("8765" in text or "hong@" in text for text in told)
    with pytest.raises(NotFound):
        bureau.office.change_applicant("nobody", {"phone": "010-1234-5678"})


def test_pages_follow_each_other(bureau) -> None:
    """Every applicant and every enrolment is on exactly one page, in the order they came."""
    applicants = [bureau.office.add_applicant("person", f"Hong {n}", {}).id for n in range(5)]
    references = [bureau.hand_out(HONG).enrolment.reference for _ in range(3)]
    bureau.turn(seconds=1)
    references = [*sorted(references), bureau.hand_out(HONG).enrolment.reference]
    for page, everything, key in (
        (bureau.office.applicants, sorted(applicants), "id"),
        (bureau.office.enrolments, references, "reference"),
    ):
        seen, last = [], None
        while found := page(after=last, limit=2):
            seen += [getattr(one, key) for one in found]
            last = seen[-1]
        assert seen == everything


def test_slips(small) -> None:
    """What cannot be is refused before anything is written."""
    with pytest.raises(Usage):
        small.office.add_applicant("person", " ", {})
    with pytest.raises(Usage):
        small.office.add_applicant("person", "Hong", {"email": "x" * 201})
    with pytest.raises(Usage):
        small.office.add_applicant("person", "Hong", {}, Secret("12345"))
    with pytest.raises(Usage):
        small.hand_out(HONG, valid_days=91)
    with pytest.raises(Usage):
        small.hand_out(HONG, uses=0)
    with pytest.raises(NotFound):
        small.office.record_check("nobody", "email", EVIDENCE)
    with pytest.raises(Usage):
        small.office.record_check("nobody", "astrology", EVIDENCE)
    with pytest.raises(NotFound):
        small.office.approve("0123456789")
    assert small.audited() == []


def test_the_settings(tmp_path) -> None:
    """What ``[enrolment]`` may say; what it may not is named."""
    text = {"tries": 3, "four-eyes": "people", "profiles": {"personal": {"four-eyes": "officers"}}}
    policy = policy_from(text | {"officer-anchors": ["office.pem"]}, tmp_path, is_test=False)
    assert (policy.tries, policy.valid_days, policy.source_tries) == (3, 14, 50)
    assert (policy.rule("personal").four_eyes, policy.rule("tls-client").four_eyes) == ("officers", "people")
    assert policy.officer_anchors == (tmp_path / "office.pem",)
    assert policy_from({"uses": 9}, tmp_path, is_test=True).uses == 9
    for wrong, named in (
        ({"uses": 2}, "test = true"),
        ({"tries": 0}, "enrolment.tries"),
        ({"trys": 5}, "enrolment.trys"),
        ({"four-eyes": "three"}, "three"),
        ({"profiles": {"personal": {"tries": 9}}}, "enrolment.profiles.personal.tries"),
        ({"profiles": {"personal": 1}}, "enrolment.profiles.personal"),
    ):
        with pytest.raises(ValueError, match=named):
            policy_from(json.loads(json.dumps(wrong)), tmp_path, is_test=False)
