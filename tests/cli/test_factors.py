"""Factors on the command line: passed with flags or typed, here and at an authority elsewhere, and for OpenSSL."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tests.authority.factors.conftest import applicant_in
from tests.authority.factors.devices import KnownCode, seat
from tests.authority.factors.serving import bank_server
from tests.cli.test_elsewhere import Shell as ShellElsewhere
from tests.cmp.own_server import OwnServer

from dojang.authority.factors.checkers import Occasion
from dojang.authority.remote_factors import RemoteSitting
from dojang.cli.context import Invocation
from dojang.cli.factors import FactorPrompts, given_in
from dojang.cli.flags import Flags
from dojang.cli.run import run as run_here
from dojang.cmp.factors import Offer, Outcome, Prepared, Wanted
from dojang.errors import FactorUnavailable, FileMalformed, Phrase, TooManyMessages, Usage
from dojang.lifecycle.prove import key_in

RIGHT, WRONG = ("env:RIGHT_CODE", "env:WRONG_CODE")


@dataclass
class Shell(ShellElsewhere):
    """Runs dojang in this process for one applicant of a bank."""

    applicant: str = ""
    profile: str = "bank"

    def code(self, name: str = "Hong") -> list[str]:
        """The options that bring a fresh code."""
        reference, code = self.server.hand_out(f"CN={name},C=KR", self.profile, applicant=self.applicant)
        file = self.home / "code"
        file.write_bytes(code + b"\n")
        file.chmod(0o600)
        return ["--reference", reference, "--code-source", f"file:{file}"]

    def issue(self, *words: object, status: int = 0, name: str = "Hong") -> Any:
        known = ["cert", "issue", "--to", self.address, "--subject", f"CN={name},C=KR", "--ca", self.server.url]
        return self.json(*known, *self.code(), *words, status=status)

    def keys(self) -> list[Any]:
        """What lies on the token."""
        return list(self.json("key", "list", self.address)["keys"])

    def device(self, factor: str) -> KnownCode:
        found = self.server.counter.authority.factors.checkers[factor]
        assert isinstance(found, KnownCode)
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with bank_server(tmp_path_factory.mktemp("bank")) as server:
        yield server


@pytest.fixture
def shell(
    home: Path,
    make_token,
    server: OwnServer,
    capsys: pytest.CaptureFixture[str],
    softhsm_module: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    monkeypatch.setenv("DOJANG_MODULE", softhsm_module)
    monkeypatch.setenv("RIGHT_CODE", "246810")
    monkeypatch.setenv("WRONG_CODE", "000000")
    applicant = applicant_in(server.counter)
    seat(server.counter, applicant)
    server.between = None
    token = make_token()
    secrets = ["--pin-source", token.pin_source, "--no-input"]

    def read() -> tuple[str, str]:
        captured = capsys.readouterr()
        return captured.out, captured.err

    return Shell(home, server, token.uri, secrets, read, applicant)


def test_a_certificate_is_issued_with_factors(shell: Shell) -> None:
    """The codes come from where the flags say, and are in no file afterwards."""
    issued = shell.issue("--factor", f"sms={RIGHT}", "--factor", f"otp={RIGHT}")
    assert issued["credential"]["state"] == "valid"
    files = [path for path in shell.home.rglob("*") if path.is_file()]
    assert all(b"246810" not in path.read_bytes() for path in files)


def test_without_flags_and_without_anybody_one_error_names_them(shell: Shell) -> None:
    """Of every way; and of the key that was made nothing is left."""
    error = shell.issue(status=2)
    assert error["code"] == "input-required"
    assert "--factor otp=SRC --factor sms=SRC" in error["next"]
    assert "--factor card=SRC --factor sms=SRC" in error["next"]
    assert "renew" not in error["next"]
    assert shell.keys() == []


def test_some_of_the_flags_name_the_rest(shell: Shell) -> None:
    """Whoever brings a card is told what goes with a card."""
    error = shell.issue("--factor", f"card:first={RIGHT}", status=2)
    assert "sms" in error["next"]
    assert "otp" not in error["next"]


def test_a_wrong_code_ends_it(shell: Shell) -> None:
    """It tells how many tries are left, and takes back what was made; what was passed stays passed for its key only."""
    error = shell.issue("--factor", f"otp={WRONG}", "--factor", f"sms={RIGHT}", status=12)
    assert error["code"] == "factor-refused"
    assert error["details"]["left"] == 2
    assert shell.keys() == []
    shell.issue("--factor", f"otp={RIGHT}", "--factor", f"sms={RIGHT}")


def test_a_locked_device_says_so(shell: Shell) -> None:
    """And who can unlock it."""
    shell.device("otp").left = 0
    error = shell.issue("--factor", f"sms={RIGHT}", "--factor", f"otp={RIGHT}", status=12)
    assert error["code"] == "factor-unavailable"
    assert "unlock" in error["next"]


def test_a_device_is_named_where_there_are_several(shell: Shell) -> None:
    """The positions of a card are told before its code is read."""
    error = shell.issue("--factor", f"card={RIGHT}", "--factor", f"sms={RIGHT}", status=2)
    assert "--factor card:first=SRC (*first) or --factor card:second=SRC (*second)" in error["next"]
    words = ["--factor", f"card:second={RIGHT}", "--factor", f"sms={RIGHT}"]
    known = ["cert", "issue", "--to", shell.address, "--subject", "CN=Hong,C=KR", "--ca", shell.server.url]
    _out, err = shell.run(*known, *shell.code(), *words)
    assert "Security card second: [8] first two digits, [35] last two digits" in err


def test_a_reissue_by_the_old_key_wants_factors_too(shell: Shell) -> None:
    """As the profile says; a renewal does not."""
    factors = ["--factor", f"sms={RIGHT}", "--factor", f"otp={RIGHT}"]
    shell.issue(*factors)
    address = f"{shell.address};object=Hong"
    assert shell.json("cert", "reissue", address, status=2)["code"] == "input-required"
    reissued = shell.json("cert", "reissue", address, *factors)
    assert reissued["previous"]["state"] == "revoked"
    renewed = shell.json("renew", "now", reissued["credential"]["address"], "--again")
    assert renewed["previous"]["state"] == "retired"


def test_a_renewal_passes_factors_where_the_profile_wants_them(shell: Shell) -> None:
    """And only then: this one wants none for a first certificate."""
    shell.profile = "strict"
    address = shell.issue()["credential"]["address"]
    assert "--factor otp=SRC" in shell.json("renew", "now", address, "--again", status=2)["next"]
    assert shell.json("renew", "now", address, "--again", "--factor", f"otp={RIGHT}")["previous"]["state"] == "retired"


def test_a_round_of_renewals_tells_who_can_pass_factors(shell: Shell) -> None:
    """It asks nobody, takes back what it made, and names the command that takes the codes."""
    shell.profile = "strict"
    shell.issue()
    before = shell.keys()
    failed = run_here(["renew", "run", shell.address, "--window", "3650d", *shell.secrets])
    _out, err = shell.read()
    assert failed == 15
    assert "dojang renew now ADDRESS, with --factor otp=SRC" in err
    assert shell.keys() == before


def test_openssl_is_refused_before_and_served_after(shell: Shell, tmp_path: Path) -> None:
    """The holder passes factors for the key with dojang; then any client enrols with the same code."""
    key, certificate = tmp_path / "ee.key", tmp_path / "ee.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)],
        check=True,
        capture_output=True,
    )
    code = shell.code()
    secret = Path(code[3].removeprefix("file:")).read_text().strip()
    asked = ["openssl", "cmp", "-cmd", "ir", "-server", shell.server.url.removeprefix("http://"), "-ref", code[1]]
    asked += [
        "-secret",
        f"pass:{secret}",
        "-newkey",
        str(key),
        "-subject",
        "/CN=Hong/C=KR",
        "-certout",
        str(certificate),
    ]
    asked += ["-recipient", "/CN=any"]
    before = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert before.returncode != 0
    assert "it is issued only after: otp + sms | card + sms" in before.stdout + before.stderr
    proved = shell.json(
        *("cert", "prove", "--key", key, "--ca", shell.server.url, *code),
        *("--factor", f"sms={RIGHT}", "--factor", f"otp={RIGHT}"),
    )
    assert proved["passed"] == ["otp", "sms"]
    after = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert after.returncode == 0, after.stderr
    assert b"BEGIN CERTIFICATE" in certificate.read_bytes()


def test_factors_can_be_proved_for_a_key_on_a_token(shell: Shell) -> None:
    """Named as every other key; proved again, nothing is asked for twice."""
    shell.json("key", "generate", shell.address, "--algorithm", "ec-p256", "--label", "mine")
    words = ["cert", "prove", "--key", f"{shell.address};object=mine", "--ca", shell.server.url, *shell.code()]
    assert shell.json(*words, "--plan")["changed"] is False
    factors = ["--factor", f"sms={RIGHT}", "--factor", f"otp={RIGHT}"]
    assert shell.json(*words, *factors)["passed"] == ["otp", "sms"]
    assert shell.json(*words)["passed"] == ["otp", "sms"]


@pytest.mark.parametrize("text", ["fax=prompt", "otp", "sms="])
def test_what_is_no_factor_is_refused_at_once(text: str) -> None:
    """Before any key is made."""
    with pytest.raises(Usage):
        given_in([text])
    with pytest.raises(Usage):
        given_in(["otp=prompt", "otp=prompt"])


def test_the_form_of_the_flag() -> None:
    """A device by its id, a seed by its address, a call with nothing to type."""
    found = given_in(["card:1234=env:X", "otp=pkcs11:token=Hong;object=bank", "ars"])
    assert (found["card"].device, found["card"].source) == ("1234", "env:X")
    assert found["otp"].seed == "pkcs11:token=Hong;object=bank"
    assert found["ars"].source is None


@pytest.mark.parametrize("url", ["http://ca.example/", "http://192.0.2.1:8080/pkix/"])
def test_no_code_goes_over_plain_http_to_elsewhere(url: str) -> None:
    """Nothing is sent at all."""

    def ask(body: object) -> Any:
        raise AssertionError(f"sent: {body}")

    with pytest.raises(FactorUnavailable, match="read the code"):
        RemoteSitting(url, ask, "issue", b"").answer("otp")


def test_a_person_is_asked_in_korean(shell: Shell, terminal: Callable[..., Any]) -> None:
    """Which factors, which card and which places of it; a code that was mistyped is asked for again, with its tries."""
    words = ["cert", "issue", "--to", shell.address, "--subject", "CN=Kim,C=KR", "--ca", shell.server.url]
    child = terminal(*words, *shell.code(), *shell.secrets[:2], "--lang", "ko", no_proxy="127.0.0.1")
    child.expect("어떻게 본인을 확인하시겠습니까")
    child.sendline("2")
    child.expect("어느 기기")
    child.sendline("1")
    child.expect(r"보안카드 first: \[8\]번 앞 두 자리, \[35\]번 뒤 두 자리")
    child.expect("보안카드 입력:")
    child.sendline("000000")
    child.expect("남은 횟수: 2")
    child.expect("보안카드 입력:")
    child.sendline("246810")
    child.expect("통과했습니다: 보안카드")
    for typed in ("", "246810"):
        child.expect(r"문자 인증번호 입력 \(비우면 다시 보냅니다\)")
        child.sendline(typed)
    child.expect("통과했습니다: 문자 인증번호")
    child.expect("발급했습니다")
    child.expect_exact(pexpect.EOF)
    assert "246810" not in (child.before or "")
    assert len(shell.device("sms").prepared) == 2


def test_asking_for_another_code_too_soon_ends_nothing(shell: Shell, terminal: Callable[..., Any]) -> None:
    """It is told when there can be another; the code that was sent still works, and what was passed stays passed."""
    sms = shell.device("sms")
    prepare, answers = sms.prepare, iter([False, True])

    def prepare_once(occasion: Occasion, device: str) -> Prepared:
        if next(answers):
            raise TooManyMessages(authority="bank", problem=Phrase("the last one was sent just now"), seconds=28)
        return prepare(occasion, device)

    sms.prepare = prepare_once
    words = ["cert", "issue", "--to", shell.address, "--subject", "CN=Kim,C=KR", "--ca", shell.server.url]
    child = terminal(*words, *shell.code(), "--factor", f"otp={RIGHT}", *shell.secrets[:2], no_proxy="127.0.0.1")
    child.expect("The code from the text message")
    child.sendline("")
    child.expect("the last one was sent just now. Ask again in 28 seconds")
    child.expect("The code from the text message")
    child.sendline("246810")
    child.expect("Issued")
    child.expect_exact(pexpect.EOF)


def test_an_interrupted_question_takes_everything_back(shell: Shell, terminal: Callable[..., Any]) -> None:
    """Ctrl-C where a code is asked for: no key and no certificate is left, and the reference number works again."""
    known, code = ["--to", shell.address, "--subject", "CN=Kim,C=KR", "--ca", shell.server.url], shell.code("Kim")
    child = terminal("cert", "issue", *known, *code, *shell.secrets[:2], no_proxy="127.0.0.1")
    child.expect("How do you want to identify yourself")
    child.sendline("1")
    child.expect("The code for one-time password")
    child.sendintr()
    child.expect_exact(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert shell.keys() == []
    shell.json("cert", "issue", *known, *code, "--factor", f"sms={RIGHT}", "--factor", f"otp={RIGHT}")


def test_an_interrupted_question_ends_a_round_of_renewals(shell: Shell, terminal: Callable[..., Any]) -> None:
    """All of it: the next certificate is not asked for, and it is no failure to be told of."""
    shell.profile = "strict"
    for name in ("Kim", "Lee"):
        known = ["--to", shell.address, "--subject", f"CN={name},C=KR", "--ca", shell.server.url]
        shell.json("cert", "issue", *known, *shell.code(name))
    before = shell.keys()
    words = ["renew", "run", shell.address, "--window", "3650d", *shell.secrets[:2]]
    child = terminal(*words, no_proxy="127.0.0.1")
    child.expect("The code for one-time password")
    child.sendintr()
    child.expect_exact(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert shell.keys() == before


def test_the_key_is_found_in_whatever_file_there_is() -> None:
    """A public key, a request, a certificate or the key itself; what is none, or is encrypted, is refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Hong")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, SHA256())
    plain, locked = (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
        for how in (NoEncryption(), BestAvailableEncryption(b"1234"))
    )
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for content in (spki, public, plain, request.public_bytes(Encoding.DER), request.public_bytes(Encoding.PEM)):
        assert key_in(content, "file") == spki
    for content in (b"", b"nothing", locked):
        with pytest.raises(FileMalformed):
            key_in(content, "file")


class Call:
    """A sitting where somebody is called, who presses the digits after a while, or never."""

    authority = "office"

    def __init__(self, *states: str, digits: str | None = "135790", seconds: int = 60) -> None:
        self.states, self.digits, self.seconds = list(states), digits, seconds

    def wanted(self) -> Wanted:
        return Wanted((("ars",),), (), (Offer("ars", "", "010-****-5678"),))

    def prepare(self, factor: str, device: str | None = None) -> Prepared:
        return Prepared(factor, "010-****-5678", seconds=self.seconds, digits=self.digits)

    def answer(self, factor: str, code: object = None, device: str | None = None) -> Outcome:
        return Outcome(self.states.pop(0), self.wanted())


def test_digits_are_pressed_in_a_call(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are shown here, nothing is typed, and it is asked again whether they were pressed."""
    monkeypatch.setattr("dojang.cli.factors._LOOK_AGAIN", 0)
    flags = Flags()
    flags.factors, flags.no_input = ("ars",), True
    FactorPrompts(Invocation(flags))(Call("waiting", "waiting", "passed"))
    assert "010-****-5678 is being called. Press these digits in the call: 135790" in capsys.readouterr().err
    with pytest.raises(FactorUnavailable, match="no code is waited for"):
        FactorPrompts(Invocation(flags))(Call("waiting", "over"))
    with pytest.raises(FactorUnavailable, match="lost on the way"):
        FactorPrompts(Invocation(flags))(Call(digits=None))
    FactorPrompts(Invocation(flags))(Call("waiting", "passed", seconds=10**400))


def test_what_is_needed_to_answer_is_told_in_any_case(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --quiet too: the digits for a call, the places of a card, and what is typed into a device."""
    monkeypatch.setenv("RIGHT_CODE", "246810")
    flags = Flags()
    flags.factors, flags.no_input, flags.quiet = ("ars",), True, True
    FactorPrompts(Invocation(flags))(Call("passed"))
    assert "135790" in capsys.readouterr().err
    for factor, prepared, told in (
        ("card", Prepared("card", "1", places=(8, 35)), "[8]"),
        ("otp", Prepared("otp", "1", digits="4711"), "4711"),
    ):
        flags.factors = (f"{factor}={RIGHT}",)
        FactorPrompts(Invocation(flags))(Asked(factor, prepared))
        assert told in capsys.readouterr().err


@dataclass
class Asked:
    """A sitting where any code is right."""

    factor: str
    prepared: Prepared
    authority: str = "office"

    def wanted(self) -> Wanted:
        return Wanted(((self.factor,),))

    def prepare(self, factor: str, device: str | None = None) -> Prepared:
        return self.prepared

    def answer(self, factor: str, code: object = None, device: str | None = None) -> Outcome:
        return Outcome("passed", Wanted(((),)))
