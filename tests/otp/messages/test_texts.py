"""What messages say, in both languages, and that a text message is one message on a Korean network."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojang.otp.messages.texts import LANGUAGES, SMS_BYTES, Wording, call_text, mail_subject, mail_text, sms_text

PURPOSES = ("issue", "renew:42", "reissue:1", "revoke", "test", "whatever:2")


@pytest.mark.parametrize(("purpose", "language"), list(itertools.product(PURPOSES, LANGUAGES)))
def test_one_text_message(purpose: str, language: str) -> None:
    """At most 90 bytes in EUC-KR, with a name that is too long cut, and the code and the warning whole."""
    for name in ("Office", "우체국 공인인증센터", "대한민국 우정사업본부 전자인증센터 서울지부"):
        text = sms_text(Wording(name, purpose, 3, language), "048215")  # type: ignore[arg-type]
        assert len(text.encode("euc-kr")) <= SMS_BYTES
        assert "048215" in text
        assert ("누구에게도 알리지 마십시오" if language == "ko" else "Never share it") in text
        assert name[:3] in text


def test_letters_that_are_not_in_euc_kr() -> None:
    """They take two bytes like others, on the networks that know them."""
    text = sms_text(Wording("뷁똠햏" * 20, "issue:1", 3), "048215")
    assert "뷁" in text
    assert len(text.encode("cp949")) <= SMS_BYTES


@given(name=st.text(max_size=60), purpose=st.sampled_from(PURPOSES), minutes=st.integers(1, 60))
def test_any_name_fits(name: str, purpose: str, minutes: int) -> None:
    """Whatever an authority is called: one message, one line, and no bare name of a placeholder."""
    for language in LANGUAGES:
        wording = Wording(name, purpose, minutes, language)
        text = sms_text(wording, "048215")
        assert len(text.encode("cp949", errors="replace")) <= SMS_BYTES
        assert text.isprintable()
        assert "048215" in text
        assert "\n" not in mail_subject(wording)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_says_what_it_must(language: str) -> None:
    """Who, what for, how long, and to tell it to nobody. A call and a subject have no code."""
    wording = Wording("우체국", "reissue:7", 3, language)  # type: ignore[arg-type]
    purpose = {"ko": "인증서 재발급", "en": "reissue a certificate"}[language]
    warning = {"ko": "누구에게도", "en": "Never"}[language]
    texts = [sms_text(wording, "048215"), mail_text(wording, "048215")]
    for text in (*texts, call_text(wording)):
        assert "우체국" in text
        assert purpose in text
        assert warning in text
    for text in texts:
        assert "048215" in text
        assert {"ko": "3분", "en": "3 min"}[language] in text
    assert purpose in mail_subject(wording)
    assert "7" not in mail_text(wording, "") + call_text(wording)
