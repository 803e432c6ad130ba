"""A backup of a key that leaves its HSM only wrapped: it counts after a second HSM has signed with it."""

from pathlib import Path

import pytest
from tests.contract.credentials import SmallAuthority
from tests.lifecycle.test_wrap import Two, authority, two

from dojang.errors import AlreadyExists, DojangError, FileMalformed, KeyDoesNotLeave, NotFound, NotPermitted
from dojang.lifecycle import backup_wrapped
from dojang.lifecycle.backup import backups_of
from dojang.lifecycle.backup_wrapped import Second, WrappedBackupOrder, drill_wrapped, wrapped_backup
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.recover import recover
from dojang.lifecycle.wrap import look_into

__all__ = ["authority", "two"]  # fixtures


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the backup goes: a folder of its own, in which nothing else may ever be seen."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "hong.key"


def order(two: Two, file: Path, **changes: object) -> WrappedBackupOrder:
    second = Second(str(changes.pop("to", two.second)), "backup")
    return WrappedBackupOrder(f"{two.first};object=Hong", "backup", file, second, **changes)


def left_on_second(two: Two) -> list[str]:
    """Keys, R and certificates, those of issuers too."""
    with two.place.open_location(two.second) as location:
        credentials = [one.label for one in location.credentials()]
    return [*credentials, *two.left()]


def test_a_second_token_signs_before_it_counts(two: Two, authority: SmallAuthority, file: Path) -> None:
    """Then nothing of it is left there, the file holds the certificate, and the ledger knows of the backup."""
    der = two.make(authority)
    made = wrapped_backup(order(two, file), two.place)
    assert {"opened-again", "signature", "attributes"} <= {one.name for one in made.drilled[0].checks}
    assert look_into(file.read_bytes()).certificate_der == der
    assert file.stat().st_mode & 0o777 == 0o600
    assert left_on_second(two) == []
    (event,) = backups_of(two.place.ledger.history(fingerprint=fingerprint_of(der)))
    assert (event.facts["file"], event.facts["sha256"]) == (str(file), made.sha256)
    assert drill_wrapped(file, Second(two.second, "backup"), two.place).sha256 == made.sha256
    assert left_on_second(two) == []
    assert [path.name for path in file.parent.iterdir()] == ["hong.key"]
    assert two.place.ledger.incomplete() == []


def test_a_place_that_has_it_is_no_trial(two: Two, authority: SmallAuthority, file: Path) -> None:
    """Neither the token it comes from nor one where it was restored; what is there stays."""
    two.make(authority)
    for to in (two.first, two.second):
        if to == two.second:
            two.unwrap(two.wrapped())
        with pytest.raises(NotPermitted):
            wrapped_backup(order(two, file, to=to), two.place)
        assert not file.exists()
        with two.place.open_location(to) as location:
            assert [one.label for one in location.credentials()] == ["Hong"]


def test_what_the_second_token_cannot_open_is_no_backup(
    two: Two, authority: SmallAuthority, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was changed on its way is found out; an older one stays, and nothing is left on the second token."""
    two.make(authority)
    file.write_text("an older backup")
    with pytest.raises(AlreadyExists):
        wrapped_backup(order(two, file), two.place)
    honest = backup_wrapped.wrap_credential

    def changed(*arguments: object) -> bytes:
        return honest(*arguments).replace(b'"Hong"', b'"Kim"')

    monkeypatch.setattr(backup_wrapped, "wrap_credential", changed)
    with pytest.raises(FileMalformed):
        wrapped_backup(order(two, file, replace=True), two.place)
    assert file.read_text() == "an older backup"
    assert [path.name for path in file.parent.iterdir()] == ["hong.key"]
    assert left_on_second(two) == []
    assert two.place.ledger.incomplete() == []


def test_a_key_that_was_not_made_for_it_stays(two: Two, authority: SmallAuthority, file: Path) -> None:
    with two.place.open_location(two.first) as location:
        key = location.generate("ec-p256", key_id=b"\x07" * 8, label="Hong")
        location.install(key_id=b"\x07" * 8, label="Hong", certificate_der=authority.certify(key, "Hong"))
    with pytest.raises(KeyDoesNotLeave):
        wrapped_backup(order(two, file), two.place)
    with pytest.raises(NotFound):
        wrapped_backup(
            WrappedBackupOrder(f"{two.first};object=Kim", "backup", file, Second(two.second, "backup")), two.place
        )
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("at", ["_tried", "unwrap_credential", "clear_second", "finish_backup"])
def test_a_drill_that_is_cut_short_leaves_nothing_on_the_second_token(
    two: Two, authority: SmallAuthority, file: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The next run, whatever it is for, finishes or undoes it: there is a good backup or none."""
    from dojang.lifecycle import scratch

    two.make(authority)
    honest = getattr(backup_wrapped, at)

    def dies(*arguments: object, **named: object) -> None:
        if at == "unwrap_credential":
            honest(*arguments, **named)
        raise _Killed

    with monkeypatch.context() as patched:
        patched.setattr(backup_wrapped, at, dies)
        patched.setattr(scratch, "give_back", lambda *_: None)  # what has been killed gives nothing back
        with pytest.raises(_Killed):
            wrapped_backup(order(two, file), two.place)
    (recovered,) = [one for one in recover(two.place) if one.record.verb == "backup"]
    assert recovered.outcome == ("finished" if at == "finish_backup" else "undone")
    assert file.exists() == (at == "finish_backup")
    assert left_on_second(two) == []
    assert not any(path.name.endswith(".drill") for path in file.parent.iterdir())


class _Killed(DojangError):
    """Stands for the end of a process."""

    sentence = next_step = "killed"
