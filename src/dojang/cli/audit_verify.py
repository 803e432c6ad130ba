"""``dojang audit verify``: whether an authority's record was touched, or its tables behind the record's back."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojang.cli.ca import ca_option
from dojang.cli.context import Invocation
from dojang.cli.files import read_file
from dojang.cli.frame import FilePath, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import chosen_authority, open_authority_named
from dojang.errors import Usage, VerificationFailed

if TYPE_CHECKING:
    from dojang.authority.audit.verify import Check, Outcome
    from dojang.authority.database import Database

_PATH = FilePath()


@command(
    help=N_(
        "Check an authority's record row by row: that nothing was changed, removed, put in or moved; and that what its "
        "tables say of certificates, enrolments, officers and keys is what the record says. Heads that were signed and "
        "kept elsewhere are given with --head; an exported record is checked by itself with --file."
    ),
    examples=[
        "dojang audit verify",
        "dojang audit verify --ca office --head /media/safe/office.head",
        "dojang audit verify --file office.jsonl --json",
    ],
)
@ca_option
@option("--head", metavar="FILE", type=_PATH, multiple=True, help=N_("A signed head kept elsewhere; may be repeated."))
@option("--file", metavar="FILE", type=_PATH, help=N_("An exported record, instead of an authority's own."))
@option("--no-tables", is_flag=True, help=N_("Look at the record alone, not at the tables."))
def verify(invocation: Invocation, ca: str | None, head: tuple[Path, ...], file: Path | None, no_tables: bool) -> None:
    """Exit status 13 when something is not as it was written; every finding names its row. No PIN is asked."""
    if file is not None and (ca is not None or head):
        raise Usage(problem=N_("--file is checked by itself; leave out --ca and --head"))
    counts: dict[str, int] | None = None
    if file is not None:
        root_der, outcome = _checked_file(file)
    elif no_tables:
        root_der, outcome = _checked(invocation, ca, head)
    else:
        root_der, outcome, counts = _compared(invocation, ca, head)
    data = _outcome_data(outcome, root_der) | {"compared": counts}
    if not outcome.valid:
        raise VerificationFailed(
            problems=[one.problem for one in outcome.findings],
            next_step=N_("Keep a copy of the database as it is now, and find out who could write to it."),
            **data,
        )
    invocation.result(data, _outcome_text(outcome, counts), quiet=[outcome.last_hash])


def _checked(invocation: Invocation, ca: str | None, files: tuple[Path, ...]) -> "tuple[bytes, Outcome]":
    from dojang.authority.audit import reading

    with open_authority_named(invocation, chosen_authority(invocation, ca)) as authority:
        database = authority.database
        with invocation.out.progress(_("Checking the record"), reading.last_row(database)[0], unit="items") as progress:
            check = _check_of(database, files)
            for entry in reading.entries(database):
                check.look_at(entry)
                progress.advance()
            return check.root_der, check.finish()


def _compared(
    invocation: Invocation, ca: str | None, files: tuple[Path, ...]
) -> "tuple[bytes, Outcome, dict[str, int]]":
    """The same, and the tables against it: what came meanwhile is heard in the view in which they are read."""
    from dataclasses import replace

    from dojang.authority.audit import reading
    from dojang.authority.audit.against import Comparison, rows_in
    from dojang.authority.audit.replay import Replay

    with open_authority_named(invocation, chosen_authority(invocation, ca)) as authority, Replay() as replay:
        database = authority.database
        check, last = _check_of(database, files), 0
        with invocation.out.progress(_("Checking the record"), reading.last_row(database)[0], unit="items") as progress:
            for entry in reading.entries(database):
                check.look_at(entry)
                replay.hear(entry)
                last = entry.seq
                progress.advance()
        with database.standing_still() as connection:
            for entry in reading.entries(database, after=last, within=connection):
                check.look_at(entry)
                replay.hear(entry)
            with invocation.out.progress(_("Comparing the tables"), rows_in(connection), unit="items") as progress:
                comparison = Comparison(replay, progress.advance)
                comparison.run(connection)
        outcome = check.finish()
        found = (*outcome.findings, *comparison.findings)
        return check.root_der, replace(outcome, findings=found), comparison.counts


def _check_of(database: "Database", files: tuple[Path, ...]) -> "Check":
    from dojang.authority.audit import reading
    from dojang.authority.audit.heads import Head
    from dojang.authority.audit.verify import Check, in_order

    outside = [Head.from_json(read_file(path).decode(errors="replace"), path) for path in files]
    outside.sort(key=lambda one: one.entries)
    return Check(reading.root_of(database), in_order(reading.heads(database), outside))


def _checked_file(file: Path) -> "tuple[bytes, Outcome]":
    from dojang.authority.audit.export import Export
    from dojang.authority.audit.verify import verify_export

    with Export(file) as export:
        return export.root_certificate_der, verify_export(export)


def _outcome_data(outcome: "Outcome", root_der: bytes) -> dict[str, Any]:
    from hashlib import sha256

    return {
        "valid": outcome.valid,
        "authority": sha256(root_der).hexdigest(),
        "entries": outcome.entries,
        "hash": outcome.last_hash,
        "heads": outcome.heads,
        "sealed": outcome.sealed,
        "sealed_at": outcome.sealed_at or None,
        "findings": [
            {"kind": one.kind, "row": one.row, "problem": say(one.problem.template, **one.problem.facts)}
            | ({"subject": one.subject} if one.subject else {})
            for one in outcome.findings
        ],
    }


def _outcome_text(outcome: "Outcome", counts: dict[str, int] | None) -> str:
    lines = [say("The record is whole: {count} rows, none changed, removed or moved.", count=outcome.entries)]
    if outcome.sealed:
        lines.append(say("Signed up to row {row}, {at}.", row=outcome.sealed, at=outcome.sealed_at))
    if counts is not None:
        told = N_("What the tables say of {count} certificates, enrolments, officers and keys agrees with it.")
        lines.append(say(told, count=sum(counts.values())))
    if outcome.sealed < outcome.entries:
        lines.append(say("Rows after that are not signed yet: 'dojang audit head --sign' does it now."))
    return "\n".join(lines)
