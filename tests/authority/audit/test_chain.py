"""The chain by itself: what a hash covers, what a head says, and that every touch is seen."""

import dataclasses
import random
import time
import tracemalloc

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from tests.authority.audit.signers import MOMENT, Signer, root_signer

from dojang.authority.audit.chain import Entry, beginning_of, clean, details_text, hash_of
from dojang.authority.audit.events import EVENTS, FORBIDDEN
from dojang.authority.audit.heads import HEAD_SIGNING, Head
from dojang.authority.audit.verify import MOST_FINDINGS, verify
from dojang.errors import FileMalformed

KEYS = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "ec-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


def kinds(outcome) -> list[tuple[str, int]]:
    return [(finding.kind, finding.row) for finding in outcome.findings]


def rehashed(rows, first: int):
    """The rows as somebody leaves them who can calculate: every hash from ``first`` on is made to fit."""
    fixed = list(rows)
    for number in range(first, len(fixed)):
        previous = fixed[number - 1].hash if number else fixed[0].previous
        row = dataclasses.replace(fixed[number], seq=number + 1, previous=previous)
        fields = (row.seq, row.at, row.actor, row.event, row.subject, row.details)
        fixed[number] = dataclasses.replace(row, hash=hash_of(previous, *fields))
    return fixed


def test_untouched_rows_are_good(root, issuing, chained):
    """Rows as written have no findings, and the last signed head says how far they are sealed."""
    rows = chained(20)
    heads = [issuing.head(root.chain[0], 7, rows[6].hash), issuing.head(root.chain[0], 15, rows[14].hash)]
    outcome = verify(root.chain[0], rows, heads)
    assert (outcome.valid, outcome.entries, outcome.heads, outcome.sealed) == (True, 20, 2, 15)
    assert outcome.last_hash == rows[-1].hash
    assert outcome.sealed_at == MOMENT


@pytest.mark.parametrize("field", ["at", "actor", "event", "subject", "details", "previous", "hash"])
def test_a_changed_field_names_its_row(root, chained, field):
    """Whatever is changed in a row, the row is named."""
    rows = chained(9)
    value = "00" * 32 if field in ("previous", "hash") else getattr(rows[4], field) + "x"
    rows[4] = dataclasses.replace(rows[4], **{field: value})
    found = kinds(verify(root.chain[0], rows))
    assert ("changed", 5) in found
    assert {row for _kind, row in found} <= {5, 6}


def test_a_removed_row_is_missed(root, chained):
    """A gap names the rows that are gone, at the beginning and in the middle."""
    rows = chained(9)
    assert kinds(verify(root.chain[0], rows[:3] + rows[6:])) == [("missing", 4)]
    assert kinds(verify(root.chain[0], rows[2:])) == [("missing", 1)]


def test_rows_in_another_order_are_seen(root, chained):
    """Two rows that changed places are named, whether their numbers moved with them or not."""
    rows = chained(9)
    swapped = [*rows[:3], rows[4], rows[3], *rows[5:]]
    assert ("order", 4) in kinds(verify(root.chain[0], swapped))
    renumbered = [dataclasses.replace(row, seq=number) for number, row in enumerate(swapped, start=1)]
    assert {("changed", 4), ("changed", 5)} <= set(kinds(verify(root.chain[0], renumbered)))


def test_an_inserted_row_is_seen(root, chained):
    """A row put in between, with hashes that fit itself, breaks the row that follows."""
    rows = chained(9)
    foreign = dataclasses.replace(rows[4], subject="ff")
    put_in = rehashed([*rows[:4], foreign, *rows[4:]], 4)[:5]
    moved = [dataclasses.replace(row, seq=row.seq + 1) for row in rows[4:]]
    found = kinds(verify(root.chain[0], [*put_in, *moved]))
    assert ("changed", 6) in found
    assert ("torn", 6) in found


def test_recalculated_hashes_are_seen_by_heads(root, issuing, chained):
    """Whoever changes a row and recalculates everything after it is stopped by the next signed head."""
    rows = chained(20)
    heads = [issuing.head(root.chain[0], 5, rows[4].hash), issuing.head(root.chain[0], 15, rows[14].hash)]
    rows[9] = dataclasses.replace(rows[9], actor="nobody")
    outcome = verify(root.chain[0], rehashed(rows, 9), heads)
    assert kinds(outcome) == [("rewritten", 15)]
    assert outcome.findings[0].problem.facts["sealed"] == 5


def test_removal_at_the_end_is_seen_by_a_head(root, issuing, chained):
    """Rows cut off at the end are named by number as far as any head knew of them."""
    rows = chained(20)
    heads = [issuing.head(root.chain[0], n, rows[n - 1].hash) for n in (5, 12, 18)]
    outcome = verify(root.chain[0], rows[:10], heads)
    assert kinds(outcome) == [("missing", 11)]
    assert outcome.findings[0].problem == "rows 11 to 18 are missing at the end"
    assert kinds(verify(root.chain[0], [], heads)) == [("missing", 1)]


def test_random_touches_are_all_seen(root, issuing, chained):
    """Two hundred random changes, removals, swaps and insertions: each is seen."""
    chance, rows = random.Random(5), chained(30)
    head = issuing.head(root.chain[0], 30, rows[-1].hash)
    for _turn in range(200):
        touched, place = list(rows), chance.randrange(30)
        match chance.randrange(4):
            case 0:
                del touched[place : place + chance.randint(1, 3)]
            case 1:
                field = chance.choice(("at", "actor", "event", "subject", "details"))
                touched[place] = dataclasses.replace(touched[place], **{field: "?"})
            case 2:
                other = (place + chance.randrange(1, 30)) % 30
                touched[place], touched[other] = touched[other], touched[place]
            case 3:
                touched.insert(place, touched[chance.randrange(30)])
        if chance.random() < 0.5:
            touched = rehashed(touched, 0)
        assert not verify(root.chain[0], touched, [head]).valid


def test_many_findings_are_cut(root, chained):
    """A record that is broken everywhere gives a bounded list."""
    rows = [dataclasses.replace(row, actor="nobody") for row in chained(300)]
    assert len(verify(root.chain[0], rows).findings) == MOST_FINDINGS


def test_another_authority_s_rows_do_not_fit(root, chained):
    """The first row is bound to the root certificate: the same rows under another root are torn at once."""
    assert kinds(verify(root_signer().chain[0], chained(3)))[0] == ("torn", 1)


@pytest.mark.parametrize("algorithm", KEYS)
def test_heads_by_every_kind_of_key(root, chained, algorithm):
    """An authority's key signs heads whatever its algorithm, and each is verified."""
    rows = chained(3)
    head = root.below("Issuing", key=KEYS[algorithm]()).head(root.chain[0], 3, rows[-1].hash)
    assert verify(root.chain[0], rows, [Head.from_json(head.to_json(), "x")]).sealed == 3


def test_who_may_sign_heads(root, issuing, chained):
    """The authority's own certificates and one made for heads; no subscriber, nobody below one, no stranger."""
    rows, der = chained(3), root.chain[0]

    def outcome(signer: Signer):
        return kinds(verify(der, rows, [signer.head(der, 3, rows[-1].hash)]))

    subscriber = issuing.below("Hong", ca=False)
    assert outcome(root) == outcome(issuing) == outcome(issuing.below("Heads", ca=False, usage=HEAD_SIGNING)) == []
    for stranger in (subscriber, subscriber.below("Sub"), root_signer(), root_signer().below("Issuing")):
        assert outcome(stranger) == [("head-forged", 3)]
    assert outcome(Signer(issuing.key, ())) == outcome(Signer(issuing.key, (b"\x30\x00",))) == [("head-forged", 3)]


def test_a_head_says_only_what_was_signed(root, issuing, chained):
    """A head whose text, signature or authority was changed is found, and is not relied on."""
    rows, der = chained(9), root.chain[0]
    good = issuing.head(der, 9, rows[-1].hash)
    changed = dataclasses.replace(good, text=good.text.replace(MOMENT, "2026-01-31T13:00:00.000Z"))
    unsigned = dataclasses.replace(good, signature=bytes(len(good.signature)))
    foreign = issuing.head(root_signer().chain[0], 9, rows[-1].hash)
    for head, kind in ((changed, "head-forged"), (unsigned, "head-forged"), (foreign, "head-foreign")):
        outcome = verify(der, rows, [head])
        assert (kinds(outcome), outcome.sealed) == ([(kind, 9)], 0)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"form": "dojang-audit-head-1"}', "[" * 100_000, "\x00"])
def test_what_is_no_head_is_refused(text):
    """A file of another form is an error for a person, never a crash."""
    with pytest.raises(FileMalformed):
        Head.from_json(text, "head.json")


def test_only_listed_details_are_taken():
    """An event or a detail that the list does not have is refused, and nothing is left out silently but ``None``."""
    assert (
        details_text("certificate-revoked", {"reason": "superseded", "revoked_at": None}) == '{"reason":"superseded"}'
    )
    with pytest.raises(ValueError, match="code"):
        details_text("enrolment-created", {"code": "ABCD"})
    with pytest.raises(ValueError, match="no-such-event"):
        details_text("no-such-event", {})


def test_no_listed_detail_is_a_secret():
    """Nothing on the list is called like something that must not be told."""
    assert {name for names in EVENTS.values() for name in names} & FORBIDDEN == set()


def test_lengths_keep_fields_apart():
    """Moving letters from one field to the next changes the hash."""
    assert hash_of("00" * 32, 1, "a", "bc", "d", "e", "{}") != hash_of("00" * 32, 1, "ab", "c", "d", "e", "{}")


def test_odd_texts_can_be_kept():
    """Zero octets and halves of characters, which a database refuses, are spelt out."""
    assert clean("홍\0길\udc80동") == "홍\\x00길\\udc80동"


def test_a_walk_is_linear_and_needs_no_room(root):
    """Ten times the rows take ten times as long, and not more memory."""

    def rows(count: int):
        previous = beginning_of(root.chain[0])
        for seq in range(1, count + 1):
            fields = (seq, MOMENT, "local:hong", "certificate-revoked", f"{seq:x}", "{}")
            hashed = hash_of(previous, *fields)
            yield Entry(*fields, previous, hashed)
            previous = hashed

    def cost(count: int) -> tuple[float, int]:
        tracemalloc.start()
        began = time.process_time()
        assert verify(root.chain[0], rows(count)).valid
        spent, (_now, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return spent, peak

    cost(100)
    few, many = cost(1_000), cost(10_000)
    assert many[0] < 20 * few[0]
    assert many[1] < 2 * few[1] + 50_000
