"""``dojang audit``: what an authority did, and copies of its record that stand alone; ``verify`` has its own file."""

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dojang.cli.ca import ca_option
from dojang.cli.ca_orders import is_ordered, officer_option, ordered
from dojang.cli.context import Invocation
from dojang.cli.files import write_file
from dojang.cli.frame import FilePath, command, option
from dojang.cli.language import N_, _, harmless, say
from dojang.cli.workplace import chosen_authority, open_authority_named
from dojang.errors import FileUnwritable, Interrupted, NotFound, Phrase, Usage

if TYPE_CHECKING:
    from dojang.authority.audit.chain import Entry
    from dojang.authority.audit.heads import Head
    from dojang.authority.database import Database

_PATH = FilePath()
_LOOK_SECONDS = 1.0


@command(
    help=N_("Show the last rows of an authority's record. With --json and --follow a line is a document."),
    examples=["dojang audit tail", "dojang audit tail --ca office --lines 100 --json", "dojang audit tail --follow"],
)
@ca_option
@option("-n", "--lines", type=click.IntRange(min=0), default=20, show_default=True, help=N_("How many."))
@option("--follow", is_flag=True, help=N_("Go on with what is added, until Ctrl-C or --timeout."))
@officer_option
def tail(invocation: Invocation, ca: str | None, lines: int, follow: bool, officer: str | None) -> int:
    """Oldest first; no PIN is asked but an officer's."""
    name = chosen_authority(invocation, ca)
    if is_ordered(name, officer):
        if follow:
            raise Usage(problem=N_("--follow is for an authority here; an officer's order gets one answer"))
        found = _ordered_tail(invocation, name, lines, officer)
    else:
        from dojang.authority.audit.reading import latest

        with open_authority_named(invocation, name) as authority:
            if follow:
                return _follow(invocation, authority.database, lines)
            found = latest(authority.database, lines)
    text = "\n".join(map(_line, found)) or _("Nothing is on record yet.")
    quiet = [str(one.seq) for one in found]
    invocation.result({"entries": [entry_data(one) for one in found]}, text, quiet=quiet)
    return 0


def _ordered_tail(invocation: Invocation, name: str, lines: int, officer: str | None) -> "list[Entry]":
    from dojang.authority.audit.chain import Entry

    return [Entry(**one) for one in ordered(invocation, name, "audit.tail", {"lines": lines}, officer)["entries"]]


def _follow(invocation: Invocation, database: "Database", lines: int) -> int:
    """A line a row, as soon as it is there."""
    from dojang.authority.audit.reading import entries, last_row

    stop, seconds = threading.Event(), invocation.flags.timeout
    if seconds is not None:
        timer = threading.Timer(seconds, stop.set)
        timer.daemon = True
        timer.start()
    invocation.out.answered = True  # --timeout ends a stream in good order, it is no failure of it
    last = max(last_row(database)[0] - lines, 0)
    try:
        while True:
            for entry in entries(database, after=last):
                invocation.result({"entry": entry_data(entry)}, _line(entry), quiet=[str(entry.seq)])
                last = entry.seq
            if stop.wait(_LOOK_SECONDS):
                return 0
    except KeyboardInterrupt:
        return Interrupted.exit_status


def entry_data(entry: "Entry") -> dict[str, Any]:
    """A row as every command prints it with ``--json``."""
    return {
        "number": entry.seq,
        "at": entry.at,
        "actor": entry.actor,
        "event": entry.event,
        "subject": entry.subject,
        "details": _details(entry),
        "hash": entry.hash,
    }


def _details(entry: "Entry") -> dict[str, Any]:
    """As they were written; a row that somebody changed may hold anything."""
    try:
        found = json.loads(entry.details)
    except ValueError:
        return {"?": entry.details}
    return found if isinstance(found, dict) else {"?": found}


def _line(entry: "Entry") -> str:
    told = " ".join(f"{name}={value}" for name, value in _details(entry).items())
    words = f"{entry.seq} {entry.at} {entry.actor} {entry.event} {entry.subject} {told}"
    return harmless(words.rstrip()).replace("\n", " ")


@command(
    help=N_(
        "Write an authority's record to a file that needs no database: one JSON object a line, the last one a head "
        "signed now. 'dojang audit verify --file' checks it, as does any program that can hash."
    ),
    examples=["dojang audit export -o office.jsonl", "dojang audit export --ca office -o office.jsonl --plan"],
)
@ca_option
@option("-o", "--output", "--to", "to", metavar="FILE", type=_PATH, required=True, help=N_("The file to be written."))
def export(invocation: Invocation, ca: str | None, to: Path) -> None:
    """Needs the PIN of the authority's token. That the record was exported is put on record, too."""
    from dojang.authority import audit
    from dojang.authority.audit import reading
    from dojang.authority.audit.export import write_export
    from dojang.authority.audit.sealing import sealing_signer

    name = chosen_authority(invocation, ca)
    if invocation.planned([say("Sign a head and write the record of {name} to {path}", name=name, path=to)], file=to):
        return
    with open_authority_named(invocation, name) as authority:
        database = authority.database
        authority.roster.private(sealing_signer(database))  # a wrong PIN leaves no row behind
        last, last_hash = reading.last_row(database)
        with database.writing() as connection:
            audit.record(connection, event="audit-exported", subject=name, entries=last, hash=last_hash)
        head = authority.seal()
        part = to.with_name(f"{to.name}.part")
        try:
            with part.open("w", encoding="utf-8", newline="\n") as file:
                rows = reading.entries(database, up_to=head.entries)
                count = write_export(file, reading.root_of(database), rows, head)
            part.replace(to)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise FileUnwritable(path=to, problem=error.strerror or str(error)) from error
    text = say("{count} rows and a signed head are in {path}.", count=count, path=to)
    invocation.result({"file": to, "entries": count, "head": head_data(head)}, text, quiet=[str(to)])


@command(
    help=N_(
        "Show the newest signed head of an authority's record, or sign one now. Kept where nobody of this machine can "
        "write, it tells later whether rows were removed."
    ),
    examples=["dojang audit head", "dojang audit head --ca office --sign -o /media/safe/office.head"],
)
@ca_option
@option("--sign", is_flag=True, help=N_("Sign one now, if rows came since; needs the PIN of the authority's token."))
@option("-o", "--output", metavar="OUT", type=_PATH, help=N_("File for it, for 'dojang audit verify --head'."))
def head(invocation: Invocation, ca: str | None, sign: bool, output: Path | None) -> None:
    """Without ``--sign`` no PIN is asked."""
    from dojang.authority.audit.reading import newest_head

    name = chosen_authority(invocation, ca)
    if sign and invocation.planned([say("Sign the head of the record of {name}", name=name)], authority=name):
        return
    with open_authority_named(invocation, name) as authority:
        found = authority.seal() if sign else newest_head(authority.database)
    if found is None:
        what = Phrase("a signed head")
        raise NotFound(what=what, where=name, command="dojang audit tail", next_step="Run 'dojang audit head --sign'.")
    if output is not None:
        write_file(output, f"{found.to_json()}\n".encode())
    invocation.result({"head": head_data(found), "output": output}, found.text.rstrip(), quiet=[found.hash])


def head_data(found: "Head") -> dict[str, Any]:
    """A head as every command prints it with ``--json``; ``text`` is what was signed."""
    from base64 import b64encode

    return {
        "entries": found.entries,
        "hash": found.hash,
        "at": found.at,
        "text": found.text,
        "signature": b64encode(found.signature).decode(),
    }
