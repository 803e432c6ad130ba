"""Callers who send too much, too slowly, too often or too many at once: the right answer, and nobody else suffers."""

import time
from ipaddress import ip_network

import pytest

from dojang.centre.desk import Desk
from dojang.centre.limits import Buckets, Limits, source_behind

from .conftest import ODD_REQUESTS, QUICK, Server, rest


def test_a_body_within_the_limit_arrives_whole(server: Server):
    """1000 bytes of 1000."""
    assert server.ask("/echo", b"x" * 1000)[2] == b"x" * 1000


def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_read(server: Server):
    """413 for the header alone."""
    with server.raw() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_grows_too_long_is_refused(server: Server):
    """413 where no length was announced; the answer arrives though the caller goes on sending."""
    with server.raw() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(30):
            connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_come_ends_the_request(server: Server):
    """408 after the time of a whole request."""
    with server.raw() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
        began = time.monotonic()
        assert rest(connection).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 6


def test_a_header_that_does_not_end_closes_the_connection(server: Server):
    """408 to whoever sends a header a little at a time, however steadily."""
    with server.raw() as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\n")
        connection.settimeout(0.1)
        answer = b""
        for _ in range(100):
            try:
                connection.sendall(b"a: b\r\n")
                answer += connection.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_connection_that_never_asks_is_closed(server: Server):
    """Without a word."""
    with server.raw() as connection:
        assert rest(connection) == b""


def test_a_header_that_is_too_long_is_refused(server: Server):
    """431."""
    with server.raw() as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\n" + b"a: " + b"b" * 5000)
        assert rest(connection).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        *ODD_REQUESTS,
    ],
)
def test_odd_requests_have_one_answer(server: Server, request_bytes, status):
    """And it comes at once: neither two lengths nor none confuse it, and nobody is switched to another protocol."""
    with server.raw() as connection:
        connection.sendall(request_bytes)
        assert connection.recv(1000).split(b" ")[1] == status


def test_too_many_connections_are_turned_away_and_those_that_are_open_go_on(server: Server):
    """The ninth of eight hears 503 and when to come again; the eight are served."""
    open_ones = [server.connection() for _ in range(8)]
    for one in open_ones:
        one.connect()
    for one in open_ones:  # each is known to the server by now
        one.request("GET", "/echo")
        assert one.getresponse().read() == b""
    with server.raw() as ninth:
        answer = rest(ninth)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after:" in answer
    open_ones[0].request("GET", "/echo")
    assert open_ones[0].getresponse().status == 200
    for one in open_ones:
        one.close()


def test_the_limits_hold_without_httptools_too(run_centre, monkeypatch):
    """In pure Python: headers too slow, too long, a body too long; and a connection is used again."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    monkeypatch.setattr("dojang.centre.protocol._implementation", lambda: H11Protocol)
    with run_centre(QUICK) as server:
        with server.raw() as slow, server.raw() as long, server.raw() as large:
            slow.sendall(b"GET /echo HTTP/1.1\r\na: b\r\n")
            long.sendall(b"GET /echo HTTP/1.1\r\n" + b"a: " + b"b" * 5000)
            large.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
            assert rest(long).startswith(b"HTTP/1.1 431 ")
            assert large.recv(100).startswith(b"HTTP/1.1 413 ")
            assert rest(slow).startswith(b"HTTP/1.1 408 ")
        connection = server.connection()
        for _ in range(3):
            connection.request("POST", "/echo", b"again")
            assert connection.getresponse().read() == b"again"
        connection.close()


def test_work_that_takes_too_long_is_answered_with_come_again(run_centre):
    """503 and Retry-After from us, who were slow; the work is done to its end."""
    with run_centre(QUICK) as server:
        status, headers, _body = server.ask("/work")
        assert status == 503
        assert headers["retry-after"]
        assert server.state.desk.taken == 1
        server.held.set()
        deadline = time.monotonic() + 10
        while server.state.desk.taken:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_more_work_than_there_is_room_for_is_turned_away_at_once(run_centre):
    """One at work and one waiting: the third hears 503 and Retry-After while both go on."""
    limits = Limits(rate=0)
    with run_centre(limits, Desk(threads=1, waiting=1)) as server:
        first, second = server.connection(), server.connection()
        first.request("GET", "/work")
        assert server.at_work.acquire(timeout=10)
        second.request("GET", "/work")
        deadline = time.monotonic() + 10
        while server.state.desk.taken < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        status, problem = server.problem("/work")
        assert (status, problem["code"]) == (503, "centre-busy")
        assert server.ask("/work")[1]["retry-after"] == "2"
        server.held.set()
        assert first.getresponse().read() == second.getresponse().read() == b"done"


def test_who_asks_too_often_is_told_when_to_come_again(run_centre):
    """429 with Retry-After once the burst is used up; another source is served all the while."""
    trusted = (ip_network("127.0.0.0/8"),)
    with run_centre(Limits(rate=0.01, burst=3, trusted_proxies=trusted)) as server:
        mine, yours = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
        assert [server.ask("/echo", headers=mine)[0] for _ in range(4)] == [200, 200, 200, 429]
        assert int(server.ask("/echo", b"x", headers=mine)[1]["retry-after"]) > 60
        assert server.ask("/echo", headers=yours)[1]["x-source"] == "192.0.2.2"


def test_a_bucket_fills_again_with_time():
    """Two tokens a second, up to the burst and no further."""
    now = [0.0]
    buckets = Buckets(2, 4, clock=lambda: now[0])
    assert [buckets.wait_for("a") for _ in range(5)] == [0, 0, 0, 0, 1]
    now[0] = 0.5
    assert [buckets.wait_for("a") for _ in range(2)] == [0, 1]
    now[0] = 1000
    assert [buckets.wait_for("a") for _ in range(5)] == [0, 0, 0, 0, 1]


def test_no_number_of_sources_fills_the_memory():
    """The one that has been quiet longest is forgotten."""
    buckets = Buckets(0.001, 1, most=100, clock=lambda: 0.0)
    assert all(buckets.wait_for(f"198.51.100.{number}") == 0 for number in range(100))
    assert buckets.wait_for("198.51.100.99") > 0
    assert all(buckets.wait_for(f"203.0.113.{number}") == 0 for number in range(99))
    assert len(buckets) == 100
    assert buckets.wait_for("198.51.100.99") > 0


def test_the_addresses_of_one_network_are_one_source():
    """Whoever has 2^64 addresses of IPv6 has one bucket all the same; an IPv4 address in IPv6 form is that address."""
    buckets = Buckets(0.001, 1, clock=lambda: 0.0)
    assert buckets.wait_for("2001:db8::1") == 0
    assert buckets.wait_for("2001:db8::ffff:2") > 0
    assert buckets.wait_for("2001:db8:0:1::1") == 0
    assert buckets.wait_for("::ffff:192.0.2.1") == 0
    assert buckets.wait_for("192.0.2.1") > 0


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.2.3.4, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.2.3.4", "203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
def test_only_a_trusted_proxy_is_believed(peer, forwarded, source):
    """Nobody chooses his own source: what stands left of the last untrusted address was written by a stranger."""
    assert source_behind(peer, forwarded, [ip_network("10.0.0.0/8")]) == source
