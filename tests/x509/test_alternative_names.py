"""Names of a subject besides its distinguished name."""

import pytest

from dojang.errors import Usage
from dojang.x509.alternative_names import format_alternative_names, parse_alternative_names


def test_written_names_are_read_and_written_back() -> None:
    """Four kinds go in and come out; twice the same is once."""
    texts = (
        "dns:www.example.kr",
        "ip:10.0.0.1",
        "ip:2001:db8::1",
        "email:a.b@example.kr",
        "uri:https://example.kr/x?y=1",
    )
    extension = parse_alternative_names((*texts, "DNS: www.example.kr"))
    assert extension is not None
    assert format_alternative_names(extension) == texts


def test_no_names_are_no_extension() -> None:
    """An empty extension is forbidden by RFC 5280."""
    assert parse_alternative_names(()) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "www.example.kr",
        "dns:",
        "dns:a..b",
        "dns:-a.kr",
        "dns:한글.kr",
        "dns:*.example.kr",
        "dns:a\x00.kr",
        "dns:" + "a." * 200,
        "dns:" + "a" * 10_000_000,
        "ip:1.2.3",
        "ip:1.2.3.4/8",
        "email:a",
        "email:a@b@c",
        "email:한@b.kr",
        "uri:x",
        "uri:a:b c",
        "other:x",
    ],
)
def test_what_is_no_name_is_usage(text: str) -> None:
    """A wrong name is refused before a request is made of it."""
    with pytest.raises(Usage):
        parse_alternative_names([text])
