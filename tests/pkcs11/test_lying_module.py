"""A module that states impossible lengths and counts, or fails after it did the work, costs an error of ours: no crash,
no memory that is not ours, no second key pair.

``lying_module.c`` stands over SoftHSM2 and tells one lie at a time, in a process of its own.
"""

import os
import subprocess
import sys
import textwrap

import pytest

OPENING = """
    import hashlib, os, sys, threading
    from pathlib import Path
    from dojang import errors
    from dojang.pkcs11 import ModuleSearch, PinGuard, find_token, list_tokens, open_token
    from dojang.secret import Secret
    folder, module, uri, pin = Path(sys.argv[1]), *sys.argv[2:]
    search, guard = ModuleSearch(module=module, discover=False), PinGuard(folder / "guard")
    digest = hashlib.sha256(b"m").digest()

    def lie(name):
        Path(os.environ["LYING_FILE"]).write_text(name)

    def outcome(work):
        try:
            return work()
        except errors.DojangError as error:
            return type(error).__name__

    def opened():
        return open_token(uri, Secret(pin), search=search, guard=guard)
"""


@pytest.fixture
def tell(liar, fixture, softhsm_module, tmp_path):
    """Runs a script over the lying module and returns the lines it prints."""

    def run(script: str) -> list[str]:
        environment = {**os.environ, "LYING_OVER": softhsm_module, "LYING_FILE": str(tmp_path / "lie")}
        whole = textwrap.dedent(OPENING) + textwrap.dedent(script)
        command = [sys.executable, "-c", whole, str(tmp_path), str(liar), fixture.uri, fixture.pin]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_impossible_signature_lengths_read_no_foreign_memory(tell):
    """C_Sign that states more bytes than there was room for, before or after signing: an error, and the next works."""
    said = tell("""
        with opened() as token:
            signer = token.generate_key_pair("ec-p256", label="liar").signer
            for name in ("signature", "room", "long signature", ""):
                lie(name)
                result = outcome(lambda: signer.sign_digest(digest, "sha256"))
                print(result if isinstance(result, str) else "signed")
            token.destroy(signer.attributes[0x102])
    """)
    assert said == ["SignatureUncertain", "DeviceFailure", "DeviceFailure", "signed"]


def test_a_signature_of_no_bytes_is_no_signature(tell):
    """C_Sign that says all is well and gives nothing: an error, for every kind of key."""
    said = tell("""
        with opened() as token:
            for algorithm in ("rsa-2048", "ec-p256", "ed25519"):
                signer = token.generate_key_pair(algorithm, label="liar").signer
                lie("no signature")
                if algorithm == "ed25519":
                    print(outcome(lambda: signer.sign_message(b"m")))
                else:
                    print(outcome(lambda: signer.sign_digest(digest, "sha256")))
                lie("")
                token.destroy(signer.attributes[0x102])
    """)
    assert said == ["SignatureUncertain"] * 3


def test_lists_that_grow_for_ever_end(tell):
    """Slots or mechanisms that are always one more than there was room for: an error, not a loop."""
    said = tell("""
        lie("slots grow")
        print(len(list_tokens(search).failures))
        lie("mechanisms grow")
        print(outcome(opened))
        lie("slots twice")
        print(len({slot.slot_id for slot in list_tokens(search).empty_slots} & {find_token(uri, search).slot_id}))
    """)
    assert said[:2] == ["1", "DeviceFailure"]


def test_searches_that_never_end_are_ended(tell):
    """The same object for ever, more than asked for, new ones for ever: what is real is found, or it is an error."""
    said = tell("""
        with opened() as token:
            token.generate_key_pair("ec-p256", label="real", key_id=b"real")
            for name in ("one object for ever", "more objects than asked for", "objects", ""):
                lie(name)
                print([key.label for key in token.keys() if not key.problem])
            lie("new objects for ever")
            print(outcome(lambda: list(token.keys())))
            lie("")
            token.destroy(b"real")
    """)
    assert said == ["['real']"] * 4 + ["DeviceFailure"]


def test_attributes_of_impossible_length_are_a_problem_of_their_object(tell):
    """Huge, shrinking, never fitting, or longer than the room: each object says that it cannot be read; no crash."""
    said = tell("""
        with opened() as token:
            token.generate_key_pair("ec-p256", label="real", key_id=b"real")
            for name in ("attributes are huge", "attributes are longer than their room", "attributes shrink",
                         "attributes never fit"):
                lie(name)
                found = list(token.private_objects())
                print(len(found), any(one.label == "real" for one in found))
            lie("")
            print(len(list(token.keys(label="real"))))
            token.destroy(b"real")
    """)
    assert said == ["2 False"] * 4 + ["1"]


def test_texts_that_are_no_text_are_shown_as_far_as_they_go(tell):
    """A label that is no UTF-8, ends early or holds half a surrogate pair still names its token."""
    said = tell("""
        for name in ("label ends early", "label is not UTF-8", "label has half a pair", "label moves the cursor",
                     "label is blank"):
            lie(name)
            for token in list_tokens(search).tokens:
                token.info.label.encode()
                assert find_token(token.address, search).info.serial == token.info.serial
            print(repr(list_tokens(search).tokens[0].info.label[:5]))
    """)
    assert said[0] == "'early'"
    assert len(said) == 5


TWO_TOKENS = """
    listing = list_tokens(search)
    assert len(listing.tokens) > 1
    addresses = [token.address for token in listing.tokens]
    print(len(set(addresses)) == len(addresses))
    print(all(find_token(token.address, search).slot_id == token.slot_id for token in listing.tokens[:3]))
    print(len({token.guarded_name for token in listing.tokens}) == len(addresses))
    print(len({token.key for token in listing.tokens}) == len(addresses))
    print({outcome(lambda: token.wipe(serial=token.info.serial, so_pin=Secret("12345678"), guard=guard)) for token in
           listing.tokens[:3]})
"""


@pytest.mark.parametrize(
    "lies",
    [
        ["serial is blank"],
        ["serial is the same", "label is the same"],
        ["serial is blank", "label is the same"],
        ["serial is blank", "label is blank"],
    ],
)
def test_tokens_that_their_serial_does_not_tell_apart(tell, make_token, lies):
    """Every address still names one token, wrong PINs are remembered for each alone, and none of them is wiped."""
    make_token()
    said = tell(f"    lie({chr(10).join(lies)!r})" + TWO_TOKENS)
    assert said == ["True", "True", "True", "True", "{'NotPermitted'}"]


def test_a_serial_that_two_tokens_share_wipes_neither(tell, make_token):
    """Different labels tell them apart for everything but destruction, which goes by serial."""
    make_token()
    said = tell("""
        lie("serial is the same")
        tokens = list_tokens(search).tokens
        print(len({token.address for token in tokens}) == len(tokens))
        so_pin = Secret("12345678")
        print({outcome(lambda: token.wipe(serial="1" * 16, so_pin=so_pin, guard=guard)) for token in tokens})
    """)
    assert said == ["True", "{'NotPermitted'}"]


def test_a_token_that_cannot_be_asked_hides_no_other(tell, make_token):
    """C_GetTokenInfo fails for one token: it is a slot with a problem, and the others are listed."""
    make_token("deaf one")
    said = tell("""
        before = len(list_tokens(search).tokens)
        lie("deaf token")
        listing = list_tokens(search)
        print(before - len(listing.tokens), [slot.problem for slot in listing.empty_slots if slot.problem])
        with opened() as token:
            token.log_in()
    """)
    assert said == ["1 ['C_GetTokenInfo: CKR_GENERAL_ERROR']"]


def test_what_is_no_text_or_no_certificate_is_an_error_of_ours(tell):
    """Half a surrogate pair in a label and junk for a certificate are refused in words, before anything is stored."""
    said = tell("""
        with opened() as token:
            before = len(list(token.private_objects()))
            half = "half \\ud800"
            for work in (
                lambda: token.generate_key_pair("ec-p256", label=half),
                lambda: token.add_data(b"", label=half, application="", key_id=b"x"),
                lambda: list(token.keys(label=half)),
                lambda: token.relabel(b"x", half),
                lambda: token.add_certificate(b"junk", label="junk", key_id=b"x"),
            ):
                print(outcome(work))
            print(len(list(token.private_objects())) - before)
    """)
    assert said == ["Usage"] * 4 + ["UnsupportedFormat", "0"]


def test_impossible_counts_take_no_memory(tell):
    """Counts of slots and mechanisms beyond all reason are refused before memory is given to them."""
    said = tell("""
        lie("slots")
        print(len(list_tokens(search).failures), outcome(lambda: find_token(uri, search)))
        lie("mechanisms")
        print(outcome(opened))
        lie("")
        with opened() as token:
            token.log_in()
    """)
    assert said == ["1 ModuleUnloadable", "DeviceFailure"]


def test_fewer_sessions_than_stated_are_shared(tell):
    """CKR_SESSION_COUNT while threads of ours hold sessions: they take turns, and nobody fails."""
    said = tell("""
        with opened() as token:
            signer = token.generate_key_pair("rsa-2048", label="few").signer
            token._pool.close(), token._pool.end(), token._pool.open()
            lie("sessions")
            results = []
            def sign():
                for _ in range(20):
                    results.append(isinstance(outcome(lambda: signer.sign_digest(digest, "sha256")), bytes))
            threads = [threading.Thread(target=sign) for _ in range(6)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            lie("")
            print(len(results), all(results))
            token.destroy(signer.attributes[0x102])
    """)
    assert said == ["120 True"]


def test_an_edwards_pair_made_in_spite_of_an_error_is_not_made_twice(tell):
    """CKR_GENERAL_ERROR after the pair was made: the other form of the parameters is not tried."""
    said = tell("""
        with opened() as token:
            lie("pair")
            print(outcome(lambda: token.generate_key_pair("ed25519", label="once", key_id=b"once")))
            lie("")
            print(len(list(token.keys(label="once"))))
            token.destroy(b"once")
    """)
    assert said == ["DeviceFailure", "1"]


def test_numbers_are_read_with_exactly_their_room(tell):
    """NSS hides a CK_ULONG attribute where there is more room than it needs; keys made there are still recognised."""
    said = tell("""
        lie("numbers")
        with opened() as token:
            print(token.generate_key_pair("ec-p256", label="numbers", key_id=b"numbers").signer.algorithm)
            lie("")
            token.destroy(b"numbers")
    """)
    assert said == ["ec-p256"]


def test_a_token_that_wants_no_login_is_asked_for_none(tell):
    """Without CKF_LOGIN_REQUIRED (NSS without a password) no PIN is sent, and what is missing is said to be missing."""
    said = tell("""
        lie("no login")
        with open_token(uri, search=search, guard=guard) as token:
            print(outcome(lambda: token.signer(label="nobody")), list(token.keys(label="nobody")))
    """)
    assert said == ["NotFound []"]
