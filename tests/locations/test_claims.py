"""Claims on credentials: one holder whoever comes, a stale one broken, nothing else ever removed."""

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dojang.locations.claims import STALE_AFTER, Claim, ClaimBoard, FolderBoard, TokenBoard
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret

NAME = "ab" * 32
RACER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from dojang.locations.claims import Claim, FolderBoard, TokenBoard
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
where, claim_id, *token = sys.argv[1:]
claim = Claim("ab" * 32, claim_id, claim_id, datetime.now(UTC))
def race(board):
    print("ready", flush=True)
    sys.stdin.readline()
    other = board.take(claim)
    print("taken" if other is None else other.holder, flush=True)
    sys.stdin.readline()
if token:
    module, uri, pin = token
    with open_token(uri, Secret(pin), search=ModuleSearch(module=module, discover=False)) as opened:
        opened.log_in()
        race(TokenBoard(opened))
else:
    race(FolderBoard(Path(where)))
"""


def claim(claim_id: str, age: timedelta = timedelta()) -> Claim:
    return Claim(NAME, claim_id, f"machine-{claim_id}", datetime.now(UTC) - age)


@pytest.fixture(params=["folder", "token"])
def place(request: pytest.FixtureRequest, tmp_path: Path, softhsm_module: str):
    """A board, and the words that lead another process to it."""
    if request.param == "folder":
        yield FolderBoard(tmp_path / "claims"), [str(tmp_path / "claims")]
        return
    token = request.getfixturevalue("make_token")()
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(token.uri, Secret(token.pin), search=search) as opened:
        yield TokenBoard(opened), ["token", softhsm_module, token.uri, token.pin]


@pytest.fixture
def board(place) -> ClaimBoard:
    return place[0]


def test_one_holder_until_it_is_dropped(board: ClaimBoard) -> None:
    """The second is told who has it, whichever number is lower; after the drop, or a second one, it is free."""
    first = claim("55" * 8)
    assert board.take(first) is None
    for claim_id in ("11" * 8, "99" * 8):
        other = board.take(claim(claim_id))
        assert other is not None
        assert other.holder == first.holder
    board.drop(NAME, "11" * 8)
    assert board.take(claim("33" * 8)) is not None
    assert board.stands(NAME, first.claim_id)
    assert not board.stands(NAME, "33" * 8)
    for _ in range(2):
        board.drop(NAME, first.claim_id)
        assert not board.stands(NAME, first.claim_id)
    assert board.take(claim("11" * 8)) is None
    board.drop(NAME, "11" * 8)


def test_claims_on_others_stand_in_nobodys_way(board: ClaimBoard) -> None:
    """Each certificate is claimed for itself."""
    assert board.take(claim("11" * 8)) is None
    assert board.take(Claim("cd" * 32, "22" * 8, "other", datetime.now(UTC))) is None


def test_a_stale_claim_is_broken(board: ClaimBoard) -> None:
    """One that was left an hour ago counts no more; its holder's late drop does not touch the new one."""
    left = claim("11" * 8, STALE_AFTER + timedelta(minutes=1))
    assert board.take(left) is None
    new = claim("22" * 8)
    assert board.take(new) is None
    board.drop(NAME, left.claim_id)
    other = board.take(claim("33" * 8))
    assert other is not None
    assert other.holder == new.holder


def test_many_processes_at_once(place) -> None:
    """Of five processes that take it in one moment, exactly one has it."""
    _board, words = place
    command = [sys.executable, "-c", RACER, words[0]]
    racers = [
        subprocess.Popen(
            [*command, f"{number:02x}" * 8, *words[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(1, 6)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.stdout.readline().strip() for racer in racers]
    for racer in racers:
        racer.communicate("end\n")
    assert Counter(said)["taken"] == 1, said


def test_a_folder_keeps_nothing(tmp_path: Path) -> None:
    """After a drop, and after a take that was refused, the folder is as empty as before; rests of a killed one go."""
    board = FolderBoard(tmp_path)
    assert board.take(claim("11" * 8)) is None
    assert board.take(claim("22" * 8)) is not None
    board.drop(NAME, "11" * 8)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / f"{NAME}.{'33' * 8}.claim.part").mkdir()
    (tmp_path / f"{NAME}.{'33' * 8}.claim").mkdir()
    board.drop(NAME, "33" * 8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nonsense", [b"", b"{}", b"[" * 9000, b'{"name": 1, "id": "x", "holder": "y", "at": "now"}'])
def test_nonsense_in_the_place_of_a_claim(tmp_path: Path, nonsense: bytes) -> None:
    """What is no claim is nobody's; what is too long to be one is left alone, and stands in the way."""
    path = tmp_path / f"{NAME}.claim" / "ff.json"
    path.parent.mkdir()
    path.write_bytes(nonsense)
    board = FolderBoard(tmp_path)
    other = board.take(claim("11" * 8))
    assert (other is None) == (len(nonsense) < 4096)
    assert path.exists() == (len(nonsense) > 4096)


def test_no_claim_leads_to_a_key(make_token, softhsm_module: str) -> None:
    """A stale claim that bears the number of a key is removed without the key and its data."""
    token = make_token()
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(token.uri, Secret(token.pin), search=search) as opened:
        opened.generate_key_pair("ec-p256", label="key", key_id=bytes.fromhex("77" * 8))
        opened.add_data(b"R", label="R", application="NPKI", key_id=bytes.fromhex("77" * 8))
        hostile = json.loads(claim("77" * 8, timedelta(hours=2)).to_json())
        label = f"dojang claim {NAME[:32]}"
        value = json.dumps(hostile).encode()
        opened.add_data(value, label=label, application="dojang", key_id=b"other", private=False)
        assert TokenBoard(opened).take(claim("11" * 8)) is None
        assert len(list(opened.keys(label="key"))) == 1
        assert opened.read_data(label="R") == [b"R"]
