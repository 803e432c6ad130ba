"""``dojang cert register``: what scripts read, what people are told, and how it ends."""

import json
import subprocess
from pathlib import Path

import pexpect
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.x509.issuer import REVOKED, SIGNING, Issuer, addresses, der, policies
from tests.x509.web import answering, web_server

from dojang.npki.keyfile import seal_pkcs8
from dojang.npki.pkcs8 import Pkcs8
from dojang.npki.vid import identify
from dojang.secret import Secret

ISSUER = Issuer("Other Bank CA")
KEY = ec.generate_private_key(ec.SECP256R1())
NUMBER, R, PASSWORD = Secret("1234561234567"), Secret(b"R" * 20), "correct horse 1!"
KEY_FILE = seal_pkcs8(Pkcs8.from_key(KEY, R).der, Secret(PASSWORD), scheme="pbes2-seed")
FOLDER = "cn=hong"


def certificate(*extensions):
    from cryptography import x509

    vid = x509.SubjectAlternativeName([identify("홍길동", NUMBER, R).to_other_name()]), False
    return ISSUER.sign(KEY.public_key(), "Hong", [SIGNING, policies("1.2.410.200005.1.1.1"), vid, *extensions])


GOOD = certificate()


class Scene:
    """A home with an NPKI folder that another program wrote, and the files that go with it."""

    def __init__(self, home: Path, run) -> None:
        self.files, self._run = home.parent / "files", run
        self.files.mkdir()
        self.put("root.pem", ISSUER.certificate.public_bytes(Encoding.PEM))
        self.put("hong.pem", GOOD.public_bytes(Encoding.PEM))
        self.put("ca.crl", ISSUER.crl())
        self.put("key.pem", KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.put("password", PASSWORD.encode()).chmod(0o600)
        self.put("number", NUMBER.reveal()).chmod(0o600)
        self.address = f"npki:{self.hold(GOOD)}"

    def put(self, file: str, content: bytes) -> Path:
        path = self.files / file
        path.write_bytes(content)
        return path

    def hold(self, held) -> Path:
        folder = self.files / "NPKI" / "other" / "USER" / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "signCert.der").write_bytes(der(held))
        (folder / "signPri.key").write_bytes(KEY_FILE)
        return self.files / "NPKI"

    def run(self, *words: object, trust: bool = True, **options):
        known = ["--password-source", f"file:{self.files}/password"]
        known += ["--trust", self.files / "root.pem"] if trust else []
        return self._run("cert", "register", *words, *known, **options)

    def json(self, *words: object, status: int = 0, **options):
        done = self.run(*words, "--json", **options)
        assert done.returncode == status, (done.stdout, done.stderr)
        envelope = json.loads(done.stdout)
        assert (envelope["command"], envelope["ok"]) == ("cert register", status == 0)
        return envelope["data"] if status == 0 else envelope["error"]

    def events(self) -> list[str]:
        shown = self._run("cert", "show", self.address, "--json")
        return [event["event"] for event in json.loads(shown.stdout)["data"]["history"]]


@pytest.fixture
def scene(home: Path, run_dojang) -> Scene:
    return Scene(home, run_dojang)


def test_registering_at_an_address(scene: Scene) -> None:
    """Credential, checks, state with its source, purposes; then ``where`` knows the place, and again is again."""
    number = f"file:{scene.files}/number"
    data = scene.json(scene.address, "--crl", scene.files / "ca.crl", "--vid-number-source", number)
    assert data["credential"]["subject"] == data["certificate"]["subject"] == "CN=Hong"
    assert all(check["ok"] for check in data["checks"])
    assert {check["name"] for check in data["checks"]} >= {"path", "revocation", "purpose", "possession", "person"}
    assert data["status"]["state"] == "good"
    assert (data["status"]["source"], data["status"]["place"]) == ("crl-file", str(scene.files / "ca.crl"))
    assert data["purposes"][0]["purpose"]["ko"] == "범용"
    assert data["certificate"]["days_left"] == data["credential"]["days_left"]
    assert not data["again"]
    where = json.loads(scene._run("where", "--json").stdout)["data"]["credentials"]
    assert data["credential"]["address"] in [one["address"] for one in where]
    again = scene.run(scene.address, "--crl", scene.files / "ca.crl", "--quiet")
    assert again.stdout.strip() == data["credential"]["address"]
    assert scene.events() == ["registered", "registered"]


def test_every_fault_in_one_error(scene: Scene) -> None:
    """No anchor, no purpose, another number: the checks in JSON, the sentence for people, and what to do next."""
    scene.put("wrong", b"1234567654321").chmod(0o600)
    words = [scene.address, "--allow-policy", "법인 범용", "--vid-number-source", f"file:{scene.files}/wrong"]
    error = scene.json(*words, trust=False, status=13)
    assert error["code"] == "registration-refused"
    checks = {check["name"]: check["ok"] for check in error["details"]["checks"]}
    assert {name for name, ok in checks.items() if not ok} == {"path", "revocation", "purpose", "person"}
    assert "--trust" in error["next"]
    said = scene.run(*words, trust=False).stderr
    for part in ("no trusted certificate", "not among those allowed", "not issued to"):
        assert part in said
    assert "1234567654321" not in said
    assert scene.events() == []


@pytest.mark.parametrize(
    ("reason", "code", "advice"),
    [
        ("keyCompromise", "certificate-revoked", "new one"),
        ("certificateHold", "certificate-suspended", "lift"),
        (None, "status-unknown", "--crl"),
    ],
)
def test_each_state_has_its_answer(scene: Scene, reason, code, advice) -> None:
    """Revoked, suspended and unknown: another code and another next step each."""
    lists = ["--crl", scene.put("now.crl", ISSUER.crl((GOOD, reason)))] if reason else []
    error = scene.json(scene.address, *lists, status=13)
    assert error["code"] == code
    assert advice in error["next"]
    assert error["details"]["status"]["state"] in ("revoked", "suspended", "unknown")


def test_a_purpose_that_is_not_allowed_is_refused_by_rule(scene: Scene, home: Path) -> None:
    """By flag or by setting; the flag wins over the setting."""
    (home / "config.toml").write_text('allowed-policies = ["전자세금용"]')
    crl = ["--crl", scene.files / "ca.crl"]
    assert scene.json(scene.address, *crl, status=9)["code"] == "purpose-refused"
    assert scene.json(scene.address, *crl, "--allow-policy", "개인 범용")["purposes"]
    assert scene.json(scene.address, *crl, "--allow-policy", "무엇이든", status=2)["code"] == "usage"


def test_lists_and_responders_over_the_network(scene: Scene) -> None:
    """By address on the command line or in the certificate; ``--offline`` asks nobody."""
    with web_server() as web:
        held = certificate(*addresses(ocsp_at=f"{web.base}/ocsp", list_at="ldap://ds.example.kr/o=CA"))
        scene.hold(held)
        error = scene.json(scene.address, status=13)
        assert [one["place"] for one in error["details"]["status"]["asked"]] == [
            f"{web.base}/ocsp",
            "ldap://ds.example.kr/o=CA",
        ]
        assert "LDAP" in error["message"]
        url = web.put("/ca.crl", ISSUER.crl())
        assert scene.json(scene.address, "--crl", url)["status"]["source"] == "crl"
        web.put("/mine", lambda handler, body: answering(ISSUER.delegate().reply(body, held, REVOKED))(handler, body))
        assert scene.json(scene.address, "--ocsp", f"{web.base}/mine", status=13)["code"] == "certificate-revoked"
        asked = len(web.asked)
        assert scene.json(scene.address, "--offline", status=13)["code"] == "status-unknown"
        assert len(web.asked) == asked


def test_a_file_and_a_challenge_signed_by_openssl(scene: Scene) -> None:
    """The advice of each step leads to the next; a challenge counts once."""
    refused = scene.json(scene.files / "hong.pem", "--crl", scene.files / "ca.crl", status=13)
    assert "--challenge" in refused["next"]
    given = scene.json(scene.files / "hong.pem", "--challenge", "-o", scene.files / "challenge.txt")
    assert (scene.files / "challenge.txt").read_text() == given["challenge"] + "\n"
    nowhere = scene.json(scene.files / "hong.pem", "--challenge", "-o", scene.files / "no" / "file", status=9)
    assert nowhere["code"] == "file-unwritable"  # and the challenge before still counts
    words = "cms -sign -binary -in challenge.txt -signer hong.pem -inkey key.pem -outform DER -out response.p7s"
    subprocess.run(["openssl", *words.split()], cwd=scene.files, check=True)
    bring = [scene.files / "hong.pem", "--crl", scene.files / "ca.crl", "--response", scene.files / "response.p7s"]
    assert "credential" not in scene.json(*bring)
    assert "dojang doctor" in scene.run(scene.files / "hong.pem", *bring[1:3], "--recheck").stderr
    assert "no challenge" in scene.json(*bring, status=13)["message"]
    assert scene.json(scene.files / "hong.pem", "--crl", scene.files / "ca.crl", "--recheck")["again"]


def test_a_challenge_signed_by_dojang(scene: Scene) -> None:
    """``sign raw`` over what was printed."""
    printed = scene.run(scene.files / "hong.pem", "--challenge")
    scene.put("challenge.txt", printed.stdout.encode())
    source = ["--password-source", f"file:{scene.files}/password"]
    output = scene.files / "response"
    signed = scene._run("sign", "raw", "--key", scene.address, scene.files / "challenge.txt", "-o", output, *source)
    assert signed.returncode == 0, signed.stderr
    scene.json(scene.files / "hong.pem", "--crl", scene.files / "ca.crl", "--response", output)


def test_checking_again(scene: Scene) -> None:
    """What was registered, without its key; a suspension then shows in lists until it is lifted."""
    crl = ["--crl", scene.files / "ca.crl"]
    assert scene.json(scene.address, *crl, "--recheck", status=3)["code"] == "not-found"
    scene.json(scene.address, *crl)
    scene.put("ca.crl", ISSUER.crl((GOOD, "certificateHold")))
    assert scene.json(scene.address, *crl, "--recheck", status=13)["code"] == "certificate-suspended"
    listed = json.loads(scene._run("cert", "list", scene.address, "--json").stdout)["data"]["credentials"]
    assert [one["state"] for one in listed] == ["suspended"]
    findings = json.loads(scene._run("doctor", "--json").stdout)["data"]["findings"]
    (finding,) = [one for one in findings if one["code"] == "registration-suspended"]
    assert finding["command"].endswith("--recheck")
    scene.put("ca.crl", ISSUER.crl())
    scene.json(scene.address, *crl, "--recheck")
    assert scene.events() == ["registered", "suspended", "restored", "checked"]


def test_a_plan_changes_nothing_and_asks_nobody(scene: Scene) -> None:
    """Neither for a registration nor for a challenge; a file that is not there is said at once."""
    crl = ["--crl", scene.files / "ca.crl", "--plan"]
    assert len(scene.json(scene.address, *crl)["plan"]) == 4
    assert scene.json(scene.files / "hong.pem", "--challenge", "--plan")["changed"] is False
    assert scene.json(scene.files / "nobody.pem", *crl, status=3)["code"] == "file-unreadable"
    assert scene.events() == []


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["{address}", "--challenge"], 2, "usage"),
        (["{address}", "--response", "x"], 2, "usage"),
        (["{address}", "--recheck", "--vid-number-source", "file:{files}/number"], 2, "usage"),
        (["{files}/hong.pem", "--vid-number-source", "file:{files}/number"], 2, "usage"),
        (["{files}/hong.pem", "-o", "x"], 2, "usage"),
        (["{files}/hong.pem", "--challenge", "--recheck"], 2, "usage"),
        (["{files}/hong.pem", "--crl", "{files}/hong.pem"], 10, "file-malformed"),
        (["{files}/hong.pem", "--crl", "{files}/none.crl"], 3, "file-unreadable"),
        (["{files}/hong.pem", "--ocsp", "127.0.0.1:8080"], 2, "usage"),
        (["{files}/hong.pem", "--ocsp", "ldap://ds.example.kr"], 2, "usage"),
        (["{files}/hong.pem", "--crl", "ldap://ds.example.kr/ou=dp1,o=CA"], 2, "usage"),
        (["{files}/key.pem"], 10, "file-malformed"),
        (["{address}", "--vid-number-source", "1234561234567"], 2, "invalid-source"),
        (["{address}", "--vid-number-source", "prompt"], 2, "input-required"),
        (["{address}", "--vid-number-source", "file:{files}/password"], 2, "usage"),
        (["npki:{files}/NPKI?cn=nobody"], 3, "not-found"),
    ],
)
def test_words_that_do_not_fit(scene: Scene, words, status, code) -> None:
    """Said before anything is looked up, and a number on the command line is never repeated."""
    filled = [word.format(address=scene.address, files=scene.files) for word in words]
    error = scene.json(*filled, "--no-input", status=status)
    assert error["code"] == code
    assert "1234561234567" not in json.dumps(error)


def test_the_number_is_asked_for_hidden(scene: Scene, terminal) -> None:
    """A person types it, and it is not shown."""
    words = ["cert", "register", scene.address, "--trust", scene.files / "root.pem", "--crl", scene.files / "ca.crl"]
    child = terminal(*words, "--vid-number-source", "prompt", "--password-source", f"file:{scene.files}/password")
    child.expect("number: ")
    child.sendline("123456-1234567")
    child.expect("Registered")
    shown = child.before
    child.expect(pexpect.EOF)
    assert "1234567" not in shown + child.before
    child.close()
    assert child.exitstatus == 0


def test_it_is_said_in_korean(scene: Scene) -> None:
    """By its Korean name, and with the purpose as Koreans call it."""
    crl = ["--crl", scene.files / "ca.crl", "--trust", scene.files / "root.pem"]
    source = ["--password-source", f"file:{scene.files}/password", "--lang", "ko"]
    done = scene._run("등록", scene.address, *crl, *source)
    assert done.returncode == 0, done.stderr
    assert "등록했습니다." in done.stdout
    assert "용도: 범용" in done.stdout
    assert "필수 확장" in done.stdout
    refused = scene._run("등록", scene.address, *crl, *source, "--allow-policy", "전자세금용")
    assert "허용된 용도가 아닙니다" in refused.stderr
