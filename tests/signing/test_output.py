"""A result is there whole, or not at all."""

import io
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dojang.errors import FileUnwritable
from dojang.signing.output import atomic_output, open_output


def test_the_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    """Until then the old content stands; afterwards the new one, whole, and nothing else is in the folder."""
    target = tmp_path / "result"
    target.write_bytes(b"old")
    with atomic_output(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert _names(tmp_path) == ["result"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_any_exception_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    """The old file is untouched and no temporary one stays behind."""
    target = tmp_path / "result"
    target.write_bytes(b"old")
    with pytest.raises(error):
        _write_half(target, error)
    assert target.read_bytes() == b"old"
    assert _names(tmp_path) == ["result"]


def test_mode_is_what_was_asked_for_less_the_umask(tmp_path: Path) -> None:
    """A secret can be written so that it was never readable by others."""
    before = os.umask(0o027)
    try:
        with atomic_output(tmp_path / "open"):
            pass
        with atomic_output(tmp_path / "secret", mode=0o600):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    """The file it points to is replaced; the link stays a link."""
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with atomic_output(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    """The temporary name is not made from the wanted one."""
    with atomic_output(tmp_path / ("x" * 255)) as file:
        file.write(b"1")
    assert len(_names(tmp_path)) == 1


@pytest.mark.parametrize("name", ["no/such/folder/result", "folder", "name\0nul", "x" * 300, "file/result"])
def test_a_target_that_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    """Missing folder, a folder itself, NUL, too long a name, a file as folder."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileUnwritable), open_output(tmp_path / name):
        pytest.fail("the block was entered")
    assert _names(tmp_path) == ["file", "folder"]


def test_a_full_device_is_said_to_be_full() -> None:
    """/dev/full answers every write with ENOSPC; it is written directly, never replaced by a file."""
    with pytest.raises(FileUnwritable, match="No space left"), open_output(Path("/dev/full")) as file:
        file.write(b"1")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_file_that_outgrows_its_limit_leaves_nothing(tmp_path: Path) -> None:
    """Running out of room in the middle of a large write is FileUnwritable, and the folder is empty again."""
    code = (
        "import sys, pathlib, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from dojang.errors import FileUnwritable\n"
        "from dojang.signing.output import atomic_output\n"
        "try:\n"
        "    with atomic_output(pathlib.Path(sys.argv[1])) as file:\n"
        "        file.write(bytes(300_000))\n"
        "except FileUnwritable as error:\n"
        "    print(error.facts['problem'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "result"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "too large" in done.stdout
    assert _names(tmp_path) == []


def test_a_folder_one_may_not_write_to_is_refused(tmp_path: Path) -> None:
    """As an ordinary user; root may write everywhere, so the check gives up its rights first."""
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and len(folder.parts) > 2:
            folder.chmod(folder.stat().st_mode | 0o005)
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            with atomic_output(locked / "result"):
                os._exit(1)
        except FileUnwritable:
            os._exit(0)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_interrupting_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C while the file is being written removes what was written."""
    code = (
        "import sys, pathlib\n"
        "from dojang.signing.output import atomic_output\n"
        "with atomic_output(pathlib.Path(sys.argv[1])) as file:\n"
        "    print('ready', flush=True)\n"
        "    while True:\n"
        "        file.write(b'1' * 1000)\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "result"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=10)[1]
    assert _names(tmp_path) == []


def test_a_stream_is_written_and_stays_open() -> None:
    """Standard output is not ours to close."""
    stream = io.BytesIO()
    with open_output(stream) as output:
        output.write(b"signature")
    assert stream.getvalue() == b"signature"


def test_a_reader_that_has_gone_is_unwritable() -> None:
    """A broken pipe is an error with a name, not a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    with (
        os.fdopen(writing, "wb") as stream,
        pytest.raises(FileUnwritable, match="Broken pipe"),
        open_output(stream) as output,
    ):
        output.write(bytes(1 << 20))
    del stream


def _write_half(target: Path, error: type[BaseException]) -> None:
    with atomic_output(target) as file:
        file.write(b"half")
        raise error


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
