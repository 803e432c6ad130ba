"""What is signed is read once, and is what lay there all the time."""

import io
import os
from pathlib import Path

import pytest

from dojang.errors import FileChanged, FileUnreadable, Usage
from dojang.signing.source import CHUNK, open_source, refuse_same_file


def test_progress_ends_at_the_size(tmp_path: Path) -> None:
    """Each report tells bytes done and the total; the last one is complete."""
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * CHUNK + 5))
    seen: list[tuple[int, int | None]] = []
    with open_source(path) as source:
        total = sum(len(part) for part in source.chunks(lambda done, size: seen.append((done, size))))
    assert total == path.stat().st_size
    assert seen == [(CHUNK, total), (2 * CHUNK, total), (total, total)]


def test_a_pipe_has_no_size() -> None:
    """Nobody knows how much will come, and nothing is compared at the end."""
    reading, writing = os.pipe()
    os.write(writing, b"content")
    os.close(writing)
    with os.fdopen(reading, "rb") as stream, open_source(stream) as source:
        assert source.size is None
        assert b"".join(bytes(part) for part in source.chunks()) == b"content"


def test_a_stream_in_memory_is_read_like_a_pipe() -> None:
    """A caller may hand in bytes it holds."""
    with open_source(io.BytesIO(b"content")) as source:
        assert (source.size, b"".join(map(bytes, source.chunks()))) == (None, b"content")


@pytest.mark.parametrize("change", ["grow", "shrink", "touch"])
def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path, change: str) -> None:
    """Longer, shorter, or only written to: nothing may be signed then."""
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * CHUNK))
    os.utime(path, ns=(1, 1))
    with open_source(path) as source, pytest.raises(FileChanged):
        list(source.chunks(lambda done, size: _change(path, change)))


@pytest.mark.parametrize("name", ["missing", ".", "name\0nul"])
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str) -> None:
    """A missing file, a folder, a NUL in the name."""
    with pytest.raises(FileUnreadable), open_source(tmp_path / name) as source:
        list(source.chunks())


def test_the_output_may_not_be_the_input(tmp_path: Path) -> None:
    """Also under another name for the same file."""
    path = tmp_path / "file"
    path.write_bytes(b"1")
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(Usage):
        refuse_same_file(path, tmp_path / "link")
    refuse_same_file(path, tmp_path / "other")


def _change(path: Path, how: str) -> None:
    if how == "shrink":
        os.truncate(path, CHUNK)
        return
    with path.open("ab" if how == "grow" else "r+b") as file:
        file.write(b"1")
