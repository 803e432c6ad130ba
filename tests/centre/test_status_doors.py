"""OCSP, lists and certificates over HTTP: what comes, what may be kept, and what openssl makes of it."""

import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import ocsp
from tests.authority.status.bureau import Bureau, ask, opened
from tests.x509.web import direct

from dojang.authority.database import Database
from dojang.authority.status.office import StatusOffice
from dojang.authority.status.settings import StatusSettings
from dojang.centre.app import build
from dojang.centre.health import Pulse
from dojang.centre.limits import Limits
from dojang.centre.metrics import Metrics
from dojang.centre.state import Centre
from dojang.x509.lookup import Sources, look_up
from dojang.x509.revocation import list_addresses


@dataclass
class Hall:
    """A centre on loopback with one authority, and its records."""

    bureau: Bureau
    office: StatusOffice
    port: int = 0

    def fetch(
        self, path: str, body: bytes | None = None, method: str = "", **headers: str
    ) -> tuple[int, HTTPMessage, bytes]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, body, named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers, content


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    folder = tmp_path_factory.mktemp("hall")
    url = f"sqlite:///{folder / 'store.sqlite'}"
    Database.create(url).close()

    def clock() -> datetime:
        return datetime.now(UTC).replace(microsecond=0)

    with opened(url, folder, clock) as bureau:
        settings = StatusSettings(delta_hours=8, base="http://pki.example.kr")
        hall = Hall(bureau, StatusOffice(bureau.database, bureau.key, bureau.file_of, clock, settings))
        state = Centre({"office": SimpleNamespace(status=hall.office)}, Metrics())  # type: ignore[dict-item]
        app = build(state, Limits(rate=0), Pulse({}), ("ocsp", "lists"))
        server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        hall.port = server.servers[0].sockets[0].getsockname()[1]
        yield hall
        server.should_exit = True
        thread.join(20)
        state.desk.close()


def status_in(answer_der: bytes) -> ocsp.OCSPCertStatus:
    return ocsp.load_der_ocsp_response(answer_der).certificate_status


def test_a_get_may_be_kept_for_a_while(hall: Hall) -> None:
    """RFC 5019 section 6: until when, since when, by which tag; the same again is 304, and HEAD is the head of it."""
    request = ask(hall.bureau.issue(), hall.bureau.own["issuing"])
    path = f"/ocsp/{quote(b64encode(request), safe='')}"
    status, headers, content = hall.fetch(path)
    response = ocsp.load_der_ocsp_response(content)
    assert (status, headers["content-type"]) == (200, "application/ocsp-response")
    assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert headers["cache-control"] == "max-age=3600, public, no-transform, must-revalidate"
    assert parsedate_to_datetime(headers["last-modified"]) == response.this_update_utc
    assert parsedate_to_datetime(headers["expires"]) == response.next_update_utc
    for condition in (
        {"if_none_match": headers["etag"]},
        {"if_none_match": f'"x", W/{headers["etag"]}'},
        {"if_modified_since": headers["last-modified"]},
    ):
        assert hall.fetch(path, **condition)[::2] == (304, b"")
    long_ago = format_datetime(response.this_update_utc - timedelta(days=1), usegmt=True)
    for condition in (
        {"if_none_match": '"x"'},
        {"if_modified_since": long_ago},
        {"if_modified_since": "once"},
        {"if_none_match": '"x"', "if_modified_since": headers["last-modified"]},
    ):
        assert hall.fetch(path, **condition)[::2] == (200, content)
    status, found, nothing = hall.fetch(path, method="HEAD")
    assert (status, found["etag"], nothing) == (200, headers["etag"], b"")


def test_a_post_is_answered_alike(hall: Hall) -> None:
    """With the name of the authority in front, too; a condition does not apply to it."""
    request = ask(hall.bureau.issue(), hall.bureau.own["issuing"])
    _, headers, content = hall.fetch("/ocsp", request)
    assert status_in(content) is ocsp.OCSPCertStatus.GOOD
    assert hall.fetch("/office/ocsp", request)[::2] == (200, content)
    assert hall.fetch(f"/office/ocsp/{b64encode(request).decode()}")[::2] == (200, content)
    assert hall.fetch("/ocsp", request, if_none_match=headers["etag"])[0] == 200
    assert hall.fetch("/nobody/ocsp", request)[0] == 404


@pytest.mark.parametrize("serial", range(1000, 1200, 7))
def test_any_base64_arrives_whole(hall: Hall, serial: int) -> None:
    """With strokes and signs in it, quoted or not."""
    issuer = hall.bureau.own["issuing"]
    text = b64encode(ask(serial**13, issuer)).decode()
    for written in (text, quote(text, safe=""), quote(text)):
        assert status_in(hall.fetch(f"/ocsp/{written}")[2]) is ocsp.OCSPCertStatus.UNKNOWN


def test_what_is_for_one_asker_is_kept_by_nobody(hall: Hall) -> None:
    """A nonce, a serial that was never issued, nonsense; RFC 6960 has errors come with status 200."""
    issuer = hall.bureau.own["issuing"]
    requests = (ask(hall.bureau.issue(), issuer, b"n" * 32), ask(77, issuer), b"nonsense")
    for request in requests:
        for path, body in (("/ocsp", request), (f"/ocsp/{b64encode(request).decode()}", None)):
            status, headers, _ = hall.fetch(path, body)
            assert (status, headers["cache-control"]) == (200, "no-store")
    for path in ("/ocsp/", "/ocsp/%00%ff", "/ocsp/MEI", "/ocsp/" + "A" * 5000):
        answer = ocsp.load_der_ocsp_response(hall.fetch(path)[2])
        assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_lists_and_certificates_are_where_certificates_say(hall: Hall) -> None:
    """The newest of each kind, as it is at that moment."""
    bureau = hall.bureau
    assert hall.fetch("/crl/issuing-2.crl")[0] == 404
    for _ in range(2):
        hall.office.lists.publish("issuing", bureau.clock())
        status, headers, content = hall.fetch("/crl/issuing.crl")
        assert (status, headers["content-type"]) == (200, "application/pkix-crl")
        assert content == bureau.file_of("issuing").read_bytes()
        assert hall.fetch("/crl/issuing.crl", if_none_match=headers["etag"])[0] == 304
    assert hall.fetch("/office/crl/issuing-delta.crl")[2] == (bureau.folder / "delta-issuing.crl").read_bytes()
    status, headers, content = hall.fetch("/ca/issuing.cer")
    assert (status, headers["content-type"]) == (200, "application/pkix-cert")
    assert x509.load_der_x509_certificate(content) == bureau.own["issuing"]
    for path in ("/ca/ocsp.cer", "/ca/nobody.cer", "/ca/nobody.p7c", "/crl/nobody.crl", "/crl/..%2fstore.crl"):
        assert hall.fetch(path)[0] == 404


def test_a_list_from_before_there_were_records_is_shown(hall: Hall) -> None:
    """As it lies in the folder, until there is a newer one; of nobody but the authority's own keys."""
    bureau = hall.bureau
    bureau.found("issuing-7", "issuing", "root")
    hall.office.lists.publish("issuing-7", bureau.clock())
    content = bureau.file_of("issuing-7").read_bytes()
    with bureau.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM crl WHERE signer = 'issuing-7'")
    status, headers, found = hall.fetch("/crl/issuing-7.crl")
    assert (status, found) == (200, content)
    assert parsedate_to_datetime(headers["expires"]) == x509.load_der_x509_crl(content).next_update_utc
    bureau.file_of("nobody").write_bytes(content)
    assert [hall.fetch(f"/crl/{name}.crl")[0] for name in ("nobody", "issuing-7-delta")] == [404, 404]


def test_certificates_that_others_signed_come_along(hall: Hall) -> None:
    """All of one name and key, as certs-only PKCS#7."""
    bureau = hall.bureau
    bureau.found("root-2", "root")
    crossed = bureau._certificate("issuing", "CN=root,O=Example,C=KR", bureau.keys["root"].public_key(), "root-2")
    bureau._record(crossed, "root-2", "issuing")
    status, headers, content = hall.fetch("/ca/root.p7c")
    assert (status, headers["content-type"]) == (200, "application/pkcs7-mime; smime-type=certs-only")
    assert set(pkcs7.load_der_pkcs7_certificates(content)) == {bureau.own["root"], crossed}
    done = subprocess.run(["openssl", "pkcs7", "-inform", "DER", "-print_certs", "-noout"], input=content)
    assert done.returncode == 0


def test_certificates_lead_here(hall: Hall) -> None:
    """Our own client asks where a certificate says: the responder, the list, and who issued it."""
    bureau, issuer, at = hall.bureau, hall.bureau.own["issuing"], hall.bureau.clock()
    bureau.base = f"http://127.0.0.1:{hall.port}/office"
    subscriber, revoked = bureau.issue(), bureau.issue()
    bureau.base = ""
    bureau.change(revoked, "revoked", "keyCompromise")
    hall.office.lists.publish("issuing", at)
    (issuer_address,) = [
        one.access_location.value
        for one in subscriber.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        if one.access_method == x509.AuthorityInformationAccessOID.CA_ISSUERS
    ]
    with direct():
        for certificate, state in ((subscriber, "good"), (revoked, "revoked")):
            (found,) = look_up([certificate, issuer], Sources(), at)
            assert (found.standing.state, found.standing.source) == (state, "ocsp"), found
            (listed,) = look_up([certificate, issuer], Sources(list_addresses=tuple(list_addresses(certificate))), at)
            assert (listed.standing.state, listed.standing.source) == (state, "crl"), listed
    path = issuer_address.removeprefix(f"http://127.0.0.1:{hall.port}")
    assert x509.load_der_x509_certificate(hall.fetch(path)[2]) == issuer


@pytest.mark.parametrize("nonce", ["-nonce", "-no_nonce"])
@pytest.mark.parametrize("digest", ["-sha1", "-sha256"])
def test_openssl_is_told_every_state(hall: Hall, tmp_path: Path, nonce: str, digest: str) -> None:
    """Over HTTP, of several certificates at once, and it verifies the answer."""
    bureau = hall.bureau
    names = {
        "good": ("confirmed", None),
        "revoked": ("revoked", "keyCompromise"),
        "held": ("suspended", "certificateHold"),
    }

    def pem(name: str, *found: x509.Certificate) -> Path:
        path = tmp_path / f"{name}.pem"
        path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in found))
        return path

    paths = []
    for name, (state, reason) in names.items():
        subscriber = bureau.issue()
        paths.append(pem(name, subscriber))
        bureau.change(subscriber, state, reason)
    issuer, root = pem("issuing", bureau.own["issuing"]), pem("root", bureau.own["root"])
    base = ["openssl", "ocsp", "-issuer", issuer, "-CAfile", root, "-verify_other", issuer, nonce]
    asked: list[Any] = [part for path in paths for part in (digest, "-cert", path)]
    url = ["-url", f"http://127.0.0.1:{hall.port}/ocsp", "-no_proxy", "*"]
    done = subprocess.run(
        [*base, *asked, digest, "-serial", "0x1234", *url], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    assert "Response verify OK" in done.stderr
    assert "WARNING" not in done.stderr
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines() if not line.startswith("\t"))
    assert [told[str(path)] for path in paths] == ["good", "revoked", "revoked"]
    assert told["0x1234"] == "unknown"
    assert [line for line in done.stdout.splitlines() if "Reason" in line] == [
        "\tReason: keyCompromise",
        "\tReason: certificateHold",
    ]
    alone = subprocess.run([*base, *asked[:3], *url], capture_output=True, text=True, timeout=20)
    assert "Response verify OK" in alone.stderr
    assert f"{paths[0]}: good" in alone.stdout
