"""The socket under other people's hands: hostile frames, slow peers, other users, requests that are refused."""

import os
import socket
import struct
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from dojang.agent import wire
from dojang.agent.signer import find_signer

FAILURE = b"\0\0\0\1\x05"
IDENTITIES = b"\0\0\0\1\x0b"


@pytest.fixture
def connect(shared):
    """Opens a connection to the agent; all are closed at the end."""
    opened = []

    def open_one() -> socket.socket:
        one = socket.socket(socket.AF_UNIX)
        one.connect(str(shared.socket))
        one.settimeout(30)
        opened.append(one)
        return one

    yield open_one
    for one in opened:
        one.close()


def receive(one: socket.socket) -> bytes:
    """One frame, or what came before the end."""
    data = b""
    while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
        more = one.recv(65536)
        if not more:
            return data
        data += more
    return data


def ended(one: socket.socket) -> bool:
    try:
        return one.recv(1) == b""
    except ConnectionError:
        return True


HOSTILE = {
    "empty": b"\0\0\0\0",
    "endless": b"\xff\xff\xff\xff",
    "too long": struct.pack(">I", wire.LONGEST_FRAME + 1) + b"\x0b",
    "a field longer than its frame": wire.frame(b"\x1b", b"\xff\xff\xff\xff", b"find@dojang"),
    "no field at all": wire.frame(b"\x1b"),
    "sign without data": wire.frame(b"\x0d", wire.string(b"blob")),
    "sign by no key": wire.frame(b"\x1b", wire.string(wire.SIGN), wire.string(b"data")),
    "find without module": wire.frame(b"\x1b", wire.string(wire.FIND), wire.string(b"pkcs11:token=x")),
    "find with more": wire.frame(b"\x1b", wire.string(wire.FIND), *[wire.string(b"")] * 3),
    "an address that is no text": wire.frame(b"\x1b", wire.string(wire.FIND), wire.string(b"\xff"), wire.string(b"")),
    "add of nothing": wire.frame(b"\x1b", wire.string(wire.ADD), wire.string(b"[]"), b"\0", wire.string(b"")),
}


@pytest.mark.parametrize("frame", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_frame_ends_its_connection_only(shared, connect, frame):
    """The neighbour's connection goes on."""
    neighbour, hostile = connect(), connect()
    hostile.sendall(frame)
    assert ended(hostile)
    neighbour.sendall(IDENTITIES)
    assert receive(neighbour)[4] == wire.IDENTITIES_ANSWER


def test_noise(shared, connect):
    """Random bytes never end the agent."""
    for seed in range(200):
        one = connect()
        body = bytes((seed * 7 + index * index * 31) % 256 for index in range(seed))
        one.sendall(wire.frame(body) if seed % 2 else body + b"\0\0\0\1")
        one.shutdown(socket.SHUT_WR)
        one.close()
    assert len(shared.status()["keys"]) == 5


def test_what_is_refused(shared, connect):
    """Adding, removing, unlocking and what nobody knows are failures on a connection that lives on."""
    one = connect()
    for kind in (0, 1, 2, 17, 18, 19, 20, 21, 23, 25, 26, 200, 255):
        one.sendall(wire.frame(bytes([kind]), wire.string(b"x")))
        assert receive(one) == FAILURE, kind
    one.sendall(wire.frame(b"\x1b", wire.string(b"session-bind@openssh.com"), wire.string(b"x")))
    assert receive(one) == FAILURE
    one.sendall(IDENTITIES)
    assert receive(one)[4] == wire.IDENTITIES_ANSWER


def test_query(shared, connect):
    """The extensions are listed as the protocol wants it."""
    one = connect()
    one.sendall(wire.frame(b"\x1b", wire.string(b"query")))
    answer = receive(one)
    assert answer[4] == wire.EXTENSION_RESPONSE
    assert all(wire.string(name) in answer for name in wire.EXTENSIONS)


def test_requests_that_come_together(shared, connect):
    """Frames that arrive in one piece, or byte by byte, are answered in their order."""
    one = connect()
    one.sendall(IDENTITIES + wire.frame(b"\xc8") + IDENTITIES)
    stream = one.makefile("rb")
    kinds = []
    for _ in range(3):
        (size,) = struct.unpack(">I", stream.read(4))
        kinds.append(stream.read(size)[0])
    assert kinds == [wire.IDENTITIES_ANSWER, wire.FAILURE, wire.IDENTITIES_ANSWER]
    for octet in IDENTITIES:
        one.sendall(bytes([octet]))
        time.sleep(0.01)
    (size,) = struct.unpack(">I", stream.read(4))
    assert stream.read(size)[0] == wire.IDENTITIES_ANSWER


def test_slow_peers_hold_up_nobody(in_shared, seal, connect):
    """Peers that send half a frame, or never read, do not keep others waiting."""
    for _ in range(20):
        connect().sendall(b"\0\0\1\0\x1b")
    for _ in range(5):
        deaf = connect()
        deaf.setblocking(False)
        try:
            for _ in range(2000):
                deaf.send(IDENTITIES * 20)
        except BlockingIOError:
            pass
    begun = time.monotonic()
    signer = find_signer(seal.key("ec-p256"))
    assert len(signer.sign_digest(bytes(32), "sha256", plain=True)) == 64
    assert time.monotonic() - begun < 8


def test_more_connections_than_there_is_room_for(in_shared, seal, connect):
    """Idle connections make room; whoever asks gets an answer."""
    for _ in range(200):
        connect()
    assert find_signer(seal.key("ec-p256")) is not None
    assert len(in_shared.status()["keys"]) == 5


# Any user can run Debian's own perl; this Python may lie in somebody's home.
ASK = [
    *("perl", "-MSocket", "-e"),
    """$SIG{PIPE} = "IGNORE"; socket(S, PF_UNIX, SOCK_STREAM, 0) or die; connect(S, pack_sockaddr_un($ARGV[0])) or die;
    syswrite(S, pack("NC", 1, 11)); print sysread(S, $_, 1) ? "answer" : "nothing";""",
]


def another_user(*words: object) -> "subprocess.CompletedProcess[str]":
    """Run a command as the user nobody."""
    change = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n", "-E"]
    return subprocess.run([*sudo, *change, *map(str, words)], capture_output=True, text=True)


def test_another_user_is_refused(agent):
    """The folder keeps other users out; if it did not, the agent would: it looks at the peer's user id."""
    assert another_user("test", "-e", agent.socket).returncode == 1
    try:
        for folder in (agent.folder.parent, agent.folder, agent.folder / "state", agent.socket.parent):
            folder.chmod(0o755)
        agent.socket.chmod(0o666)
        asked = another_user(*ASK, agent.socket)
        assert asked.stdout == "nothing", asked.stderr
        ours = subprocess.run([*ASK, agent.socket], capture_output=True, text=True)
        assert ours.stdout == "answer", ours.stderr
    finally:
        agent.socket.parent.chmod(0o700)


def test_rsa_signs_over_sha_2_only(in_shared, seal, connect):
    """The flags of RFC 8332 choose the hash; without one of them SHA-1 would be wanted, and that is refused."""
    one = connect()
    one.sendall(IDENTITIES)
    blob = wire.Reader(receive(one), 9).string()
    for flags, name in ((2, b"rsa-sha2-256"), (4, b"rsa-sha2-512"), (0, b""), (1, b"")):
        one.sendall(wire.frame(b"\x0d", wire.string(blob), wire.string(b"data"), struct.pack(">I", flags)))
        answer = receive(one)
        assert answer == FAILURE if not name else wire.Reader(wire.Reader(answer, 5).string()).string() == name


def test_the_hash_chosen_by_ssh_is_the_one_signed_over(in_shared, seal, connect):
    """The blob holds a PKCS#1 v1.5 signature that the key's public half accepts."""
    one = connect()
    one.sendall(IDENTITIES)
    blob = wire.Reader(receive(one), 9).string()
    for flags, chosen in ((2, hashes.SHA256()), (4, hashes.SHA512())):
        one.sendall(wire.frame(b"\x0d", wire.string(blob), wire.string(b"data"), struct.pack(">I", flags)))
        signed = wire.Reader(wire.Reader(receive(one), 5).string())
        signed.string()
        seal.public["rsa-2048"].verify(signed.string(), b"data", padding.PKCS1v15(), chosen)


def test_no_answer_holds_the_pin(home, make_token):
    """Whatever is asked, by whichever request and in whichever state, the PIN is in no answer."""
    token = make_token(pin="7391552684")
    pin = ("--pin-source", token.pin_source)
    assert home.dojang("key", "generate", token.uri, "--label", "stamp", *pin).returncode == 0
    home.start("--key", f"{token.uri};object=stamp", *pin)
    address = f"{token.uri};object=stamp".encode()
    requests = [wire.frame(bytes([kind]), wire.string(address), wire.string(b"")) for kind in range(27)]
    for name in (*wire.EXTENSIONS[:-1], b"pin@dojang", b"export@dojang"):
        for fields in ([], [wire.string(address)], [wire.string(address), wire.string(b"")]):
            requests.append(wire.frame(b"\x1b", wire.string(name), *fields))
    answers = b""
    for _ in range(2):
        for request in requests:
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(home.socket))
                one.sendall(request)
                answers += receive(one)
        home.dojang("agent", "lock")
    assert b"stamp" in answers
    assert token.pin.encode() not in answers
