"""Codes by message at an authority: its applicants, its settings, its token, its record."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from tests.authority.conftest import Clock
from tests.authority.messages.conftest import Ring

from dojang.authority import LocalAuthority, create_authority, tables
from dojang.authority.audit import acting
from dojang.authority.local import open_authority
from dojang.errors import MessageCodeRefused, NotFound, TooManyMessages
from dojang.otp.messages.signature import Unsigned
from dojang.secret import Secret
from dojang.x509.name import parse_name

SETTINGS = """
test = true
[messages]
name = "우체국"
per-source = 2
[messages.sms]
kind = "console"
"""


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[LocalAuthority]:
    key, clock = ec.generate_private_key(ec.SECP256R1()), Clock()
    subject = parse_name("CN=Test Root,O=Example,C=KR")
    made = create_authority(tmp_path, name="test", subject=subject, key=key, key_address="pkcs11:object=r", clock=clock)
    made.close()
    (tmp_path / "test" / "authority.toml").write_text(SETTINGS)
    with open_authority(tmp_path, "test", Ring(), clock=clock) as found, acting("test"):
        yield found


def applicant(authority: LocalAuthority, number: int = 0) -> str:
    contact = {"phone": f"010-1234-56{number:02}"}
    return authority.counter.office.add_applicant("person", f"홍길동 {number}", contact).id


def test_a_code_for_an_applicant(authority: LocalAuthority, capfd: pytest.CaptureFixture[str]) -> None:
    """Sent to where the office wrote that he is, in the authority's name; the secret is made when it is needed."""
    one = applicant(authority)
    told = []
    authority.count_message = lambda *what: told.append(what)
    assert authority.messages.target(one, "sms").masked == "010-****-5600"
    assert authority.messages.target(one, "mail") is None
    assert authority._open_key.made == []
    authority.messages.start(one, "sms", "issue:1", "203.0.113.7")
    shown = capfd.readouterr().err
    assert shown.startswith("[sms 010-****-5600] [우체국] 인증서 발급 인증번호 ")
    (code,) = re.findall(r"\b[0-9]{6}\b", shown)
    seen = []
    authority.messages.answer(one, "issue:1", Secret(code), lambda connection, passed: seen.append(passed))
    assert (seen[0].applicant, seen[0].channel) == (one, "sms")
    assert authority._open_key.made == ["test-codes"]
    assert told == [("sms", "sent")]
    with authority.database.reading() as connection:
        rows = connection.execute(select(tables.audit.c.event, tables.audit.c.details)).all()
    assert [row.event for row in rows][-4:] == ["signer-added", "message-made", "message-sent", "message-passed"]
    assert code not in str(rows)


def test_strangers_do_not_run_programs(authority: LocalAuthority, tmp_path: Path) -> None:
    """However often the door for outcomes is asked, where its key comes from is asked once in a while."""
    program, asked = tmp_path / "key.sh", tmp_path / "asked"
    program.write_text(f"echo x >> {asked}\necho 0123456789abcdef\n")
    with (authority.folder / "authority.toml").open("a") as file:
        file.write('[messages.ars]\nkind = "call"\nurl = "https://call.example.com/"\n')
        file.write(f'callback = "https://ca.example.com/ars"\nkey-source = "cmd:sh {program}"\n')
    with open_authority(tmp_path, "test", Ring(), clock=authority._clock) as opened:
        for _ in range(20):
            with pytest.raises(Unsigned):
                opened.messages.told({}, b"{}", authority.now())
    assert asked.read_text() == "x\n"


def test_who_asks_is_counted_by_address(authority: LocalAuthority) -> None:
    """The addresses of one household's network are one; the office itself may ask for as many as it needs."""
    people = [applicant(authority, number) for number in range(9)]
    start = authority.messages.start
    start(people[0], "sms", "issue:1", "2001:db8:1:2::3")
    start(people[1], "sms", "issue:1", "2001:db8:1:2:ffff::9")
    with pytest.raises(TooManyMessages):
        start(people[2], "sms", "issue:1", "2001:db8:1:2::4")
    start(people[2], "sms", "issue:1", "2001:db8:1:3::4")
    for one in people[3:]:
        start(one, "sms", "issue:1", "local")


def test_a_number_that_changed(authority: LocalAuthority, capfd: pytest.CaptureFixture[str]) -> None:
    """A code that went to the number before is worthless, as it may be in a thief's hands; what is sent next works."""
    one = applicant(authority)
    authority.messages.start(one, "sms", "issue:1", None)
    (code,) = re.findall(r"\b[0-9]{6}\b", capfd.readouterr().err)
    authority.counter.office.change_applicant(one, {"email": "hong@example.com"})
    authority.counter.office.change_applicant(one, {"phone": "010-8765-4321"})
    with pytest.raises(MessageCodeRefused, match="has changed"):
        authority.messages.answer(one, "issue:1", Secret(code))
    assert authority.messages.target(one, "sms").masked == "010-****-4321"
    authority.messages.start(one, "sms", "issue:1", None)
    (code,) = re.findall(r"\b[0-9]{6}\b", capfd.readouterr().err)
    assert authority.messages.answer(one, "issue:1", Secret(code))


def test_an_applicant_who_is_not_there(authority: LocalAuthority) -> None:
    """Nothing is sent to nobody."""
    with pytest.raises(NotFound):
        authority.messages.start("nobody", "sms", "issue:1", None)
