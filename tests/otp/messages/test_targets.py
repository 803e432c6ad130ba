"""Numbers and mail addresses: which are taken, how they are shown, and that no header or other line gets in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojang.otp.messages.targets import CHANNELS, target_of


@pytest.mark.parametrize(
    ("written", "number", "national", "shown"),
    [
        ("010-1234-5678", "+821012345678", "01012345678", "010-****-5678"),
        ("01012345678", "+821012345678", "01012345678", "010-****-5678"),
        (" +82 10 1234 5678 ", "+821012345678", "01012345678", "010-****-5678"),
        ("+82 (0)10-1234-5678", "+821012345678", "01012345678", "010-****-5678"),
        ("011-234-5678", "+82112345678", "0112345678", "011-****-5678"),
        ("02-345-6789", "+8223456789", "023456789", "02-****-6789"),
        ("(02) 3456-7890", "+82234567890", "0234567890", "02-****-7890"),
        ("031.123.4567", "+82311234567", "0311234567", "031-****-4567"),
        ("064-712-3456", "+82647123456", "0647123456", "064-****-3456"),
        ("070-1234-5678", "+827012345678", "07012345678", "070-****-5678"),
    ],
)
def test_korean_numbers(written: str, number: str, national: str, shown: str) -> None:
    """However people write them."""
    target = target_of("sms", written)
    assert (target.address, target.national, target.masked) == (number, national, shown)


@pytest.mark.parametrize(
    "written",
    [
        *("", "0", "10-1234-5678", "010-12-5678", "010-1234-56789", "010-1234-5678 #2", "010-1234-5678;07000000000"),
        *("060-700-1234", "+82607001234", "+82 060 700 1234", "0900-1234", "015-1234-5678", "1588-1234", "112"),
        *("+1 212 555 0100", "+7 701 234 56 78", "+0821012345678", "+", "++821012345678", "00821012345678"),
        *("010-1234-5678\n", "010\r\n1234", "０１０-1234-5678", "010-١٢٣٤-5678", "hong@example.com", "전화", "+82"),
    ],
)
def test_what_is_no_number_to_write_to(written: str) -> None:
    """Nor one that costs more (060), nor of another country; it is not repeated. A line end at an end is no matter."""
    if written == "010-1234-5678\n":
        assert target_of("sms", written).address == "+821012345678"
        return
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the phrases are looked at by the next test
        target_of("ars", written)
    assert len(written) < 6 or written not in str(refused.value)


def test_countries_are_data() -> None:
    """An authority may say to which it writes."""
    target = target_of("sms", "+1 (212) 555-0100", ("82", "1"))
    assert (target.address, target.national, target.masked) == ("+12125550100", "+12125550100", "+12-****-0100")
    with pytest.raises(ValueError, match="that country"):
        target_of("sms", "010-1234-5678", ("1",))
    with pytest.raises(ValueError, match="such a number"):
        target_of("sms", "060-700-1234")


@pytest.mark.parametrize(
    ("written", "address", "shown"),
    [
        ("hong@example.com", "hong@example.com", "h***@example.com"),
        (" Hong.Gildong+bank@EXAMPLE.co.kr ", "Hong.Gildong+bank@example.co.kr", "H***@example.co.kr"),
        ("o'neil_1@a-b.example", "o'neil_1@a-b.example", "o***@a-b.example"),
        ("hong@우체국.한국", "hong@xn--3e0b129b9he.xn--3e0b707e", "h***@xn--3e0b129b9he.xn--3e0b707e"),
    ],
)
def test_mail_addresses(written: str, address: str, shown: str) -> None:
    """In one spelling; domains in Korean letters as servers know them."""
    target = target_of("mail", written)
    assert (target.address, target.masked, target.national) == (address, shown, address)


@pytest.mark.parametrize(
    "written",
    [
        *("", "hong", "hong@", "@example.com", "hong@localhost", "hong@example", "a@b@example.com", "a b@example.com"),
        *("hong@example.com\r\nBcc: x@example.com", "hong@example.com\n.", "hong\n@example.com", "hong@exa\nmple.com"),
        *("Hong <hong@example.com>", '"a b"@example.com', "hong@example.com,kim@example.com", "hong@[127.0.0.1]"),
        *(
            ".hong@example.com",
            "hong.@example.com",
            "ho..ng@example.com",
            "hong@-a.com",
            "hong@a..com",
            "홍@example.com",
        ),
        *("a" * 65 + "@example.com", "a@" + "b" * 64 + ".com", "a@" + "b." * 130 + "com", "hong@example.com\0"),
        *("hong@" + "가" * 80 + ".com", "hong@exa\u202emple.com"),
    ],
)
def test_what_is_no_mail_address(written: str) -> None:
    """Nothing that could be a second address, another header, or a name beside it."""
    with pytest.raises(ValueError, match="it is no mail address"):
        target_of("mail", written)


@given(
    channel=st.sampled_from(CHANNELS), text=st.text(max_size=40) | st.from_regex(r"[+0-9 ()-]{0,20}", fullmatch=True)
)
def test_anything_is_a_target_or_refused(channel: str, text: str) -> None:
    """A target is one line of letters that no server reads as more than one address; its mask hides the middle."""
    try:
        target = target_of(channel, text)  # type: ignore[arg-type]
    except ValueError:
        return
    assert target.address.isascii()
    assert target.address.isprintable()
    assert not set(' ,;<>"()[]:\\') & set(target.address)
    assert "*" in target.masked
    assert target.address not in repr(target)
