"""Many files: one first, then several at once; told in order; each output whole; some errors stop the rest."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dojang.errors import DojangError, FileUnreadable, PinIncorrect, TokenRemoved
from dojang.signing.batch import Batch, Job, Outcome, threads_for
from dojang.signing.output import atomic_output
from dojang.signing.raw import sign_file
from dojang.signing.registry import Signed

MANY = 400


class Stamp:
    """A signer whose signatures are the digests; it notices how often, and by how many at once, it is asked."""

    algorithm = "rsa-2048"
    at_once = 4

    def __init__(self, fails: Callable[[int], DojangError | None] = lambda _count: None) -> None:
        self.fails = fails
        self.asked = 0
        self.inside = self.most_inside = 0
        self._lock = threading.Lock()

    def sign_digest(self, digest: bytes, hash_name: str, scheme: str) -> bytes:
        with self._lock:
            self.asked += 1
            count = self.asked
            self.inside += 1
            self.most_inside = max(self.inside, self.most_inside)
        time.sleep(0.0005)
        with self._lock:
            self.inside -= 1
        error = self.fails(count)
        if error is not None:
            raise error
        return digest

    def sign_message(self, message: bytes) -> bytes:
        raise NotImplementedError


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Letters, each with its own words."""
    folder = tmp_path / "letters"
    folder.mkdir()
    for number in range(MANY):
        (folder / f"{number}").write_text(f"letter {number}")
    return [Job(folder / f"{number}", folder / f"{number}.sig") for number in range(MANY)]


def _batch(signer: Stamp, report: Callable[[Outcome], object], threads: int = 4, *, listed: bool = True) -> Batch:
    def sign(job: Job, on_progress, unsynced: set[Path]) -> Signed:
        return sign_file(job.source, job.output, signer, None, on_progress, unsynced)

    return Batch(sign, report, threads, listed=listed)


def _names(told: list[Outcome]) -> list[str]:
    return [outcome.job.source.name for outcome in told]


def _outputs(jobs: list[Job]) -> list[str]:
    """The outputs that are there, in order; no other file is, and each is whole."""
    names = {path.name for path in jobs[0].source.parent.iterdir()}
    assert names <= {path.name for job in jobs for path in job}
    there = [job for job in jobs if job.output.name in names]
    assert {job.output.stat().st_size for job in there} <= {32}
    return [job.source.name for job in there]


@pytest.mark.parametrize("threads", [1, 4])
def test_every_file_is_signed_and_told_in_order(jobs: list[Job], threads: int) -> None:
    """However the threads take turns, the first file is told first."""
    told: list[Outcome] = []
    assert _batch(Stamp(), told.append, threads).run(jobs) is True
    assert _names(told) == [job.source.name for job in jobs]
    assert [outcome.signed.output for outcome in told] == [str(job.output) for job in jobs]
    assert _outputs(jobs) == _names(told)


def test_a_wrong_pin_is_tried_once(jobs: list[Job]) -> None:
    """The first file is signed alone, so what is wrong with the PIN or the key is met by nobody else."""
    signer, told = Stamp(lambda _count: PinIncorrect(token="t", role="user")), []
    with pytest.raises(PinIncorrect):
        _batch(signer, told.append).run(jobs)
    assert (signer.asked, told, _outputs(jobs)) == (1, [], [])


def test_a_bad_first_file_does_not_let_the_others_loose(jobs: list[Job]) -> None:
    """Alone means until one has been signed, not until one has been looked at."""
    jobs[0].source.unlink()
    jobs[1].source.unlink()
    signer, told = Stamp(lambda _count: PinIncorrect(token="t", role="user")), []
    with pytest.raises(PinIncorrect):
        _batch(signer, told.append).run(jobs)
    assert (signer.asked, _names(told)) == (1, ["0", "1"])


@pytest.mark.parametrize("threads", [1, 4])
def test_one_bad_file_stops_no_other(jobs: list[Job], threads: int) -> None:
    """Gone, or with a folder where its signature should be: told in its place, and the rest is signed."""
    jobs[3].source.unlink()
    jobs[200].output.mkdir()
    told: list[Outcome] = []
    assert _batch(Stamp(), told.append, threads).run(jobs) is True
    assert _names(told) == [job.source.name for job in jobs]
    failed = {outcome.job.source.name: outcome.error.code for outcome in told if outcome.error}
    assert failed == {"3": "file-unreadable", "200": "file-unwritable"}


@pytest.mark.parametrize("threads", [1, 4])
def test_a_token_that_goes_stops_the_batch(jobs: list[Job], threads: int) -> None:
    """The error is raised, what was signed until then is told and whole, and nothing else is there."""
    signer, told = Stamp(lambda count: TokenRemoved(token="t") if count > 100 else None), []
    with pytest.raises(TokenRemoved):
        _batch(signer, told.append, threads).run(jobs)
    assert _names(told) == _outputs(jobs)
    assert len(told) == 100
    assert signer.asked <= 100 + threads


def test_stop_lets_what_is_being_signed_come_to_its_end(jobs: list[Job]) -> None:
    """What was begun is told and whole; run again, the batch signs everything."""
    told: list[Outcome] = []

    def report(outcome: Outcome) -> None:
        told.append(outcome)
        if len(told) == 50:
            batch.stop()

    batch = _batch(Stamp(), report)
    assert batch.stop() is False  # nothing has begun
    assert batch.run(jobs) is False
    assert 50 <= len(told) < MANY
    assert _names(told) == _outputs(jobs)
    again: list[Outcome] = []
    assert _batch(Stamp(), again.append).run(jobs) is True
    assert _outputs(jobs) == [job.source.name for job in jobs]


def test_stop_does_not_wait_for_a_long_file_or_a_list_without_end(jobs: list[Job], tmp_path: Path) -> None:
    """A file that is being read is abandoned without a trace, and whoever waits for a name is left to wait."""
    endless, told = tmp_path / "endless", []
    with endless.open("wb") as file:
        file.truncate(1 << 40)
    waiting = threading.Event()

    def names() -> Iterator[Job]:
        yield from jobs[:2]
        yield Job(endless, tmp_path / "endless.sig")
        waiting.wait()

    batch = _batch(Stamp(), told.append, listed=False)
    threading.Timer(0.3, batch.stop).start()
    assert batch.run(names()) is False
    waiting.set()
    assert _names(told) == ["0", "1"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["endless"]


def test_a_name_that_does_not_come_holds_back_no_result(jobs: list[Job]) -> None:
    """With a list that is still being written, each file is told when it is signed."""
    told: list[Outcome] = []
    third = threading.Event()

    def report(outcome: Outcome) -> None:
        told.append(outcome)
        if len(told) == 3:
            third.set()

    def names() -> Iterator[Job]:
        yield from jobs[:3]
        assert third.wait(10)
        yield jobs[3]

    assert _batch(Stamp(), report, listed=False).run(names()) is True
    assert _names(told) == ["0", "1", "2", "3"]


def test_a_list_that_breaks_off_is_an_error_of_its_own(jobs: list[Job]) -> None:
    """What was named before is signed and told."""

    def names() -> Iterator[Job]:
        yield from jobs[:10]
        raise FileUnreadable(path="list", problem="it broke off")

    told: list[Outcome] = []
    with pytest.raises(FileUnreadable, match="broke off"):
        _batch(Stamp(), told.append, listed=False).run(names())
    assert _names(told) == _outputs(jobs) == [str(number) for number in range(10)]


def test_names_are_taken_as_they_are_needed(jobs: list[Job]) -> None:
    """A slow reader of the results holds back the signing, so that memory does not grow with the list."""
    named, told, ahead = 0, [], 0

    def names() -> Iterator[Job]:
        nonlocal named
        for _ in range(25):
            for job in jobs:
                named += 1
                yield job

    def report(outcome: Outcome) -> None:
        nonlocal ahead
        told.append(outcome)
        ahead = max(ahead, named - len(told))
        if len(told) % 100 == 0:
            time.sleep(0.002)

    def sign(job: Job, _progress, _unsynced: set[Path]) -> Signed:
        return Signed(str(job.output), "raw", "none")

    assert Batch(sign, report, 4, listed=True).run(names()) is True
    assert len(told) == 25 * MANY
    assert ahead < 1500


def test_nothing_is_told_before_its_name_is_on_disk(jobs: list[Job]) -> None:
    """The folder of an output is synced before the output is told; once for all that were signed meanwhile."""
    folders: set[Path] = set()

    def sign(job: Job, _progress, unsynced: set[Path]) -> Signed:
        nonlocal folders
        folders = unsynced
        with atomic_output(job.output, unsynced=unsynced):
            pass
        assert unsynced == {job.output.parent}
        return Signed(str(job.output), "raw", "none")

    assert Batch(sign, lambda _outcome: _assert_none_left(folders), 1, listed=True).run(jobs) is True


def _assert_none_left(folders: set[Path]) -> None:
    assert folders == set()


def test_a_key_that_makes_one_signature_at_a_time_is_asked_by_one_thread(jobs: list[Job]) -> None:
    """A signer that does not say how many it makes is such a key; one that does is asked by several."""
    assert threads_for(Stamp()) > 1
    shy = Stamp()
    shy.at_once = 1
    assert threads_for(shy) == 1
    _batch(shy, id, threads_for(shy)).run(jobs[:50])
    assert shy.most_inside == 1
    bold = Stamp()
    _batch(bold, id, threads_for(bold)).run(jobs)
    assert bold.most_inside > 1


def test_a_report_that_fails_leaves_nobody_at_work(jobs: list[Job]) -> None:
    """When nobody reads the results any more, the threads come to rest before the error is seen."""
    signer = Stamp()

    def report(outcome: Outcome) -> None:
        if outcome.job.source.name == "30":
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        _batch(signer, report).run(jobs)
    asked = signer.asked
    time.sleep(0.05)
    assert (signer.inside, signer.asked) == (0, asked)
    _outputs(jobs)
