"""Passwords: the bytes they stand for, the rules of institutions, and strength that is not fooled by decoration."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojang.npki.password_rules import DEFAULT, password_rules, strength_of
from dojang.npki.passwords import byte_forms, utf16_forms
from dojang.secret import Secret

HANGUL = re.compile("[가-힣]")


def test_ascii_is_one_form() -> None:
    """So nothing is tried twice."""
    assert byte_forms(Secret("abc1!")) == [b"abc1!"]
    assert utf16_forms(Secret("ab")) == [b"\0a\0b\0\0"]


def test_korean_is_tried_as_utf8_then_as_cp949() -> None:
    """In this order; one encoding alone where it is chosen; without an encoding that lacks the characters."""
    password = Secret("암호뷁")
    assert byte_forms(password) == ["암호뷁".encode(), "암호뷁".encode("cp949")]
    assert byte_forms(password, ("cp949", "utf-8")) == ["암호뷁".encode("cp949"), "암호뷁".encode()]
    assert byte_forms(Secret("🐴"), ("cp949",)) == []
    assert utf16_forms(password)[0] == "암호뷁".encode("utf-16-be") + b"\0\0"


def test_bytes_that_are_no_text_stand_for_themselves() -> None:
    """A password that came as CP949 is used as CP949."""
    raw = "암호".encode("cp949")
    assert byte_forms(Secret(raw)) == [raw]
    assert utf16_forms(Secret(raw)) == [raw.decode("latin-1").encode("utf-16-be") + b"\0\0"]


def test_no_password_has_two_forms_in_pkcs12() -> None:
    """Two zero bytes, or nothing."""
    assert utf16_forms(Secret("")) == [b"\0\0", b""]


def test_every_rule_says_what_it_is() -> None:
    """Title in both languages, bounds, a source; a doubt is explained."""
    rules = password_rules()
    assert DEFAULT in rules
    for rule in rules.values():
        assert HANGUL.search(rule.titles["ko"])
        assert rule.titles["en"].isascii()
        assert 1 <= rule.least <= rule.most
        assert set(rule.kinds) <= {"letter", "digit", "special"}
        assert rule.source
        assert (rule.doubt is None) == (rule.remark is None)


@pytest.mark.parametrize(
    ("rule", "password", "problems"),
    [
        ("joint", "correct horse 1!", 0),
        ("joint", "한글암호가열자이상1!", 0),
        ("joint", "short1!", 1),
        ("joint", "x" * 63 + "1!", 1),
        ("joint", "lettersonly", 2),
        ("joint", "1234567890!", 1),
        ("joint", 'quote"inside1!', 1),
        ("joint", "pipe|inside1!", 1),
        ("joint", "back\\slash1!", 1),
        ("joint", "tab\tinside1!", 1),
        ("joint", "", 4),
        ("vendor", "lettersonly", 0),
        ("vendor-letters-digits", "lettersonly", 1),
        ("older", "eight888", 0),
        ("financial", "123456", 0),
        ("financial", "12345", 1),
        ("financial", "12345a", 1),
    ],
)
def test_rules_are_applied(rule: str, password: str, problems: int) -> None:
    """Every problem at once, and none of them repeats the password."""
    found = password_rules()[rule].problems(Secret(password))
    assert len(found) == problems
    assert not password or not any(password in problem for problem in found)


def test_a_password_that_is_no_text_fits_no_rule() -> None:
    """What its characters are cannot be said."""
    assert len(password_rules()["joint"].problems(Secret(b"\xff\xfe" * 6))) == 1


@pytest.mark.parametrize(
    ("password", "at_least", "at_most"),
    [
        ("", 0, 0),
        ("123456", 0, 0),
        ("aaaaaaaaaaaaaaaa", 0, 0),
        ("Password1!", 0, 1),
        ("qwer1234!", 0, 1),
        ("asdfghjkl1!", 0, 1),
        ("hong19900101!", 1, 2),
        ("비밀번호1!", 0, 1),
        ("k7#pQ", 1, 1),
        ("k7#pQz!m", 2, 3),
        ("k7#pQz!m4&Rt", 3, 4),
        ("correct horse battery staple", 4, 4),
        ("도장은빨간인주로찍는다", 4, 4),
    ],
)
def test_strength_counts_what_is_hard_to_guess(password: str, at_least: int, at_most: int) -> None:
    """Runs, repetitions, dates and known words add little, also in capitals."""
    assert at_least <= strength_of(Secret(password)).level <= at_most


@given(st.text(max_size=40))
def test_strength_is_a_value_for_any_text(text: str) -> None:
    """A level from 0 to 4 and a word, also for halves of characters."""
    strength = strength_of(Secret(text.encode("utf-8", "surrogatepass")))
    assert 0 <= strength.level <= 4
    assert strength.bits >= 0
    assert strength.word
