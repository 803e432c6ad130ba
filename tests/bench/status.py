"""OCSP and revocation lists: answers from stock and live, whether a million certificates slow them down, long lists.

Rates are per second of processor time of one core, on SQLite; keys are P-256 on the token. Certificates are rows put in
at once: none of a million is signed.
"""

import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from types import SimpleNamespace
from typing import Any

from many_certificates import fill
from place import Place, Row

from dojang.authority.database import Database
from dojang.authority.status.list_signing import Entry, Scope, sign_list
from dojang.authority.status.office import StatusOffice
from dojang.authority.status.settings import StatusSettings
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret

sys.path.insert(0, str(Path(__file__).parent.parent.parent))
from tests.authority.status.bureau import Bureau, ask, opened

FROM_STOCK, LIVE, SLOWER, LONGER = 2000, 500, 1.3, 1.5
FEW, MANY, ASKED = 1_000, 1_000_000, 500
SHORT_LIST, LONG_LIST = 10_000, 100_000
CLIENTS, EACH = 4, 500


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    search = ModuleSearch(module=place.module, discover=False)
    with ExitStack() as stack:
        token = stack.enter_context(open_token(place.uri, Secret(place.pin), search=search))
        keys = {name: token.generate_key_pair("ec-p256", label=name) for name in ("issuing", "ocsp")}
        few, many = (stack.enter_context(_bureau(place.folder / str(count), keys, count)) for count in (FEW, MANY))
        return [
            *_rates(few, rounds, seconds),
            _growth(few, many, rounds),
            _over_http(few),
            *_long_lists(keys["issuing"]),
        ]


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@contextmanager
def _bureau(folder: Path, keys: dict[str, Any], count: int) -> Iterator[Bureau]:
    """Records of so many certificates, and a responder."""
    folder.mkdir()
    url = f"sqlite:///{folder / 'store.sqlite'}"
    Database.create(url).close()
    with opened(url, folder, _now, keys) as bureau:
        _fill(bureau.database, count)
        yield bureau


def _fill(database: Database, count: int) -> None:
    with database.writing() as connection:
        fill(connection, count, _now(), least=timedelta(days=365), spread=timedelta())


def _requests(bureau: Bureau, nonce: bytes | None = None) -> list[bytes]:
    with bureau.database.reading() as connection:
        query = f"SELECT serial FROM certificate ORDER BY key_fingerprint LIMIT {ASKED}"
        serials = [int(row[0], 16) for row in connection.exec_driver_sql(query)]
    return [ask(serial, bureau.own["issuing"], nonce) for serial in serials]


def _rates(bureau: Bureau, rounds: int, seconds: float) -> list[Row]:
    responder = bureau.responder()
    kinds = {"from stock": _requests(bureau), "live": _requests(bureau, b"n" * 32)}
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for request in kinds["from stock"]:
        responder.answer(request)
    for _ in range(rounds):
        for kind, requests in kinds.items():
            rates[kind].append(_rate(lambda: [responder.answer(one) for one in requests[:100]], 100, seconds))  # noqa: B023
    promised = {"from stock": FROM_STOCK, "live": LIVE}
    return [
        Row(
            "status", f"OCSP {kind}", median(found) / promised[kind], 1.0, True, f"{median(found):.0f} answers/s a core"
        )
        for kind, found in rates.items()
    ]


def _rate(work: Callable[[], object], each: int, seconds: float) -> float:
    count, start, end = 0, process_time(), perf_counter() + seconds
    while perf_counter() < end:
        work()
        count += each
    return count / (process_time() - start)


def _growth(few: Bureau, many: Bureau, rounds: int) -> Row:
    """The same questions to a thousand certificates and to a million, in turns."""
    asked = [(bureau.responder(), _requests(bureau)) for bureau in (few, many)]
    medians: list[list[float]] = [[], []]
    for _ in range(rounds + 1):
        for found, (responder, requests) in zip(medians, asked, strict=True):
            found.append(median(_seconds(responder.answer, request) for request in requests))
    ratio = median(b / a for a, b in zip(*(found[1:] for found in medians), strict=True))
    detail = f"p50 {median(medians[1]) * 1e6:.0f} µs, of {FEW} {median(medians[0]) * 1e6:.0f} µs"
    return Row("status", f"OCSP among {MANY} certificates", ratio, SLOWER, False, detail)


def _seconds(work: Callable[[bytes], object], request: bytes) -> float:
    start = perf_counter()
    work(request)
    return perf_counter() - start


def _over_http(bureau: Bureau) -> Row:
    """Clients in processes of their own; what this process spends is the server's."""
    import uvicorn

    from dojang.centre.app import build
    from dojang.centre.health import Pulse
    from dojang.centre.limits import Limits
    from dojang.centre.metrics import Metrics
    from dojang.centre.state import Centre

    office = StatusOffice(bureau.database, bureau.key, bureau.file_of, _now, StatusSettings())
    state = Centre({"bench": SimpleNamespace(status=office)}, Metrics())  # type: ignore[dict-item]
    requests = _requests(bureau)
    for request in requests:
        office.responder.answer(request)
    config = uvicorn.Config(
        build(state, Limits(rate=0), Pulse({}), ("ocsp",)), port=0, log_level="error", access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    command = [sys.executable, __file__, str(port), *(request.hex() for request in requests[:50])]
    clients = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(CLIENTS)]
    for client in clients:
        client.stdout.read(1)  # it has its connection
    start = process_time()
    for client in clients:
        client.stdin.write(b"\n")
        client.stdin.flush()
    assert [client.wait() for client in clients] == [0] * CLIENTS
    rate = CLIENTS * EACH / (process_time() - start)
    server.should_exit = True
    thread.join()
    state.desk.close()
    return Row("status", "OCSP from stock over HTTP", rate / FROM_STOCK, None, True, f"{rate:.0f} answers/s a core")


def _client(port: int, requests: list[bytes]) -> None:
    connection = HTTPConnection("127.0.0.1", port)
    connection.connect()
    sys.stdout.write(".")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(EACH):
        connection.request("POST", "/ocsp", requests[number % len(requests)])
        assert connection.getresponse().read()[6] == 0  # successful


def _long_lists(key: Any) -> list[Row]:
    """Made of entries in memory: the time of ten times as many, and what each takes."""
    times: dict[int, list[float]] = {SHORT_LIST: [], LONG_LIST: []}
    sizes, issuer = {}, _issuer(key)
    scope, before = Scope(1, _now(), _now()), _peak()
    for _ in range(3):
        for count, found in times.items():
            entries = [Entry(2**150 + number, scope.this_update_at, "superseded") for number in range(count)]
            start = process_time()
            sizes[count] = len(sign_list(issuer, key, entries, scope))
            found.append(process_time() - start)
    each = {count: min(found) / count for count, found in times.items()}
    memory = (_peak() - before) / LONG_LIST
    detail = f"{min(times[LONG_LIST]):.2f} s, {sizes[LONG_LIST] / 1e6:.1f} MB, {memory:.0f} bytes of memory an entry"
    ratio = each[LONG_LIST] / each[SHORT_LIST]
    return [Row("status", f"an entry of a list of {LONG_LIST}, to one of {SHORT_LIST}", ratio, LONGER, False, detail)]


def _issuer(key: Any) -> Any:
    from dojang.authority.certificate import Draft, sign_certificate
    from dojang.x509.name import parse_name
    from dojang.x509.profiles import profile
    from dojang.x509.reading import read_certificate

    draft = Draft(profile("root"), parse_name("CN=Bench CA"), key.public_key(), (), _now(), _now())
    return read_certificate(sign_certificate(draft, None, key, 1))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    _client(int(sys.argv[1]), [bytes.fromhex(word) for word in sys.argv[2:]])
