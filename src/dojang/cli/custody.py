"""``dojang key custody``: split, join. A share is shown or written once, and kept nowhere else."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from dojang.cli.context import Invocation
from dojang.cli.custodians import show_each, typed_shares
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import plan_words, workplace

if TYPE_CHECKING:
    from dojang.lifecycle.custody import Custody
    from dojang.lifecycle.shares import Share
    from dojang.secret import Secret

_WORDS_A_LINE = 6
_WORDS = "words:"
LARGEST = 1 << 16

label_option = option("--label", default="backup", show_default=True, help=N_("Label of the wrapping key."))


@command(
    help=N_(
        "Make a wrapping key in an HSM and hand out shares of it, some of which make it again (SLIP-39). Each share is "
        "shown once on the terminal, one custodian after the other, or written to a file of its own with --into."
    ),
    examples=[
        "dojang key custody split pkcs11:token=HSM --shares 5 --threshold 3",
        "dojang key custody split pkcs11:token=HSM --label backup --shares 3 --threshold 2 --into /media/custodians",
    ],
)
@argument("address", metavar="ADDRESS")
@label_option
@option("--shares", type=click.IntRange(min=1), required=True, metavar="N", help=N_("How many custodians there are."))
@option("--threshold", type=click.IntRange(min=1), required=True, metavar="M", help=N_("How many of them must meet."))
@option(
    "--into",
    metavar="FOLDER",
    type=FilePath(),
    help=N_("Folder for one file (0600) a custodian; made if it is not there."),
)
def split(invocation: Invocation, address: str, label: str, shares: int, threshold: int, into: Path | None) -> None:
    """Split, and say what to do with the shares."""
    from dojang.lifecycle.custody import SplitOrder, plan_split
    from dojang.lifecycle.custody import split as split_key

    order = SplitOrder(invocation.address(address), label, shares, threshold)
    with workplace(invocation) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_split(order, place)), address=order.to, label=label)
            return
        written: list[Path] = []
        try:
            done = split_key(order, place, _hand_out(invocation, label, into, written))
        except BaseException:
            for path in written:  # shares of a key that no HSM has
                with suppress(OSError):
                    path.unlink()
            raise
    lines = [
        say("Made the wrapping key {label} with the check value {check} in {location}.", **_facts(done)),
        say(
            "Any {threshold} of {shares} shares make it again: dojang key custody join ADDRESS --label {label} "
            "--check {check}",
            threshold=threshold,
            shares=shares,
            label=quote(done.kek.label),
            check=done.kek.check,
        ),
        *[say("Share: {file}", file=path) for path in written],
    ]
    if written:
        lines.append(_("Give each custodian one file, and leave none together in one place."))
    data = {**_data(done), "shares": shares, "threshold": threshold, "files": [str(path) for path in written]}
    invocation.result(data, "\n".join(lines), quiet=[done.kek.check])


@command(
    help=N_(
        "Bring the wrapping key that shares make to an HSM, where it never leaves again. Shares come from files, or "
        "are typed one after the other, hidden."
    ),
    examples=[
        "dojang key custody join pkcs11:token=Spare",
        "dojang key custody join pkcs11:token=Spare --check 5f3a90c1 --share one.share --share two.share",
    ],
)
@argument("address", metavar="ADDRESS")
@label_option
@option(
    "--share",
    "files",
    multiple=True,
    metavar="FILE",
    type=FilePath(),
    help=N_("File with a share; may be given again."),
)
@option("--check", metavar="VALUE", help=N_("Check value that the key must have; it stands on every share."))
def join(invocation: Invocation, address: str, label: str, files: tuple[Path, ...], check: str | None) -> None:
    """Join, and say which key it is."""
    from dojang.lifecycle.custody import JoinOrder, plan_join
    from dojang.lifecycle.custody import join as join_key

    order = JoinOrder(invocation.address(address), label, check)
    with workplace(invocation) as place:
        steps = plan_join(order, place)  # before anybody types a share for an HSM that is not there
        if invocation.planned(plan_words(steps), address=order.to, label=label):
            return
        done = join_key(order, place, [_share_in(path) for path in files] or typed_shares(invocation))
    text = N_("The wrapping key {label} with the check value {check} is in {location}.")
    if done.already:
        text = N_("Nothing to do: the wrapping key {label} with the check value {check} is in {location} already.")
    invocation.result({**_data(done), "already": done.already}, say(text, **_facts(done)), quiet=[done.kek.check])


def _hand_out(
    invocation: Invocation, label: str, into: Path | None, written: list[Path]
) -> "Callable[[Share, str], None]":
    """To files in a folder, or to one custodian at the terminal after the other."""
    if into is not None:
        from dojang.npki.files import make_folder, write_new_file

        folder = into
        make_folder(folder)

        def write(share: "Share", check: str) -> None:
            path = folder / f"{_file_name(label)}-{check}-{share.number}.share"
            write_new_file(path, _share_text(share, label, check).encode())
            written.append(path)

        return write
    return show_each(invocation, lambda share, check: _share_text(share, label, check))


def _share_text(share: "Share", label: str, check: str) -> str:
    """A share as it is written down: what it is of, and the words."""
    words = share.words.reveal().decode().split()
    rows = [words[start : start + _WORDS_A_LINE] for start in range(0, len(words), _WORDS_A_LINE)]
    numbers = say(
        "share {number} of {shares}; any {threshold} of them make the key",
        number=share.number,
        shares=share.shares,
        threshold=share.threshold,
    )
    head = [say("wrapping key: {label}", label=label), say("check value: {check}", check=check), numbers, "", _WORDS]
    return "\n".join([*head, *(" ".join(row) for row in rows)]) + "\n"


def _share_in(path: Path) -> "Secret":
    """The words in a file: all that follows ``words:``, or the whole of it."""
    from dojang.npki.files import read_file
    from dojang.secret import Secret

    text = read_file(path, at_most=LARGEST)
    return Secret(text.rpartition(_WORDS.encode())[2].strip())


def _file_name(label: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in label) or "key"


def _facts(done: "Custody") -> dict[str, str]:
    return {"label": done.kek.label, "check": done.kek.check, "location": done.location}


def _data(done: "Custody") -> dict[str, object]:
    return {"label": done.kek.label, "id": done.kek.key_id, "check": done.kek.check, "location": done.location}
