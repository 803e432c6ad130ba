"""``dojang sign``: one file or several, by a key on a token or in a folder."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import click

from dojang.cli.context import Invocation
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.language import N_, say
from dojang.errors import Phrase, Usage

if TYPE_CHECKING:
    from dojang.signing.digest import DigestSigner
    from dojang.signing.registry import Signed

STREAM = Path("-")


class Papers(NamedTuple):
    """What is to be signed, and where the signatures go."""

    suffix: str
    files: tuple[Path, ...]
    output: Path | None
    files_from: Path | None
    null: bool
    skip_signed: bool

    @property
    def many(self) -> bool:
        return len(self.files) > 1 or self.files_from is not None or self.skip_signed

    def check(self, *, json: bool) -> None:
        """What cannot be is ``Usage`` before any PIN is asked."""
        if not self.files and self.files_from is None:
            raise Usage(problem=Phrase(N_("there is nothing to sign; name a file, or a list with --files-from")))
        if self.many and (self.output is not None or STREAM in self.files):
            raise Usage(problem=Phrase(N_("-o and the file - are for one file, and there are several to sign")))
        written = set(map(self.target, self.files)) if self.many else set()
        if both := written.intersection(self.files):  # or a signature would be over what is being replaced
            raise Usage(
                problem=Phrase(
                    N_("{file} is to be signed, and to be written as the signature of another"), file=min(both)
                )
            )
        if json and not self.many and self.target(self.files[0]) == STREAM:
            raise Usage(problem=Phrase(N_("--json and the signature cannot both go to standard output; use -o")))

    def target(self, file: Path) -> Path:
        """Where the signature of ``file`` goes."""
        return self.output or (STREAM if file == STREAM else Path(f"{file}{self.suffix}"))

    def each(self) -> Iterator[tuple[Path, Path]]:
        """Every file with its output; a list is read as it is signed."""
        yield from ((file, self.target(file)) for file in self.files)
        if self.files_from is not None:
            from dojang.cli.batch import names_in

            for file in names_in(self.files_from, b"\0" if self.null else b"\n"):
                yield file, Path(f"{file}{self.suffix}")


def _shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every format takes: the key, the files, the output, hash and padding."""
    parameters = (
        argument("files", metavar="FILE…", nargs=-1, type=FilePath()),
        option("--key", "address", metavar="ADDRESS", required=True, help=N_("Key or credential that signs.")),
        option(
            "-o",
            "--output",
            metavar="OUT",
            type=FilePath(),
            help=N_("File to write, - for standard output; otherwise beside the signed file."),
        ),
        option(
            "--hash",
            "hash_name",
            type=click.Choice(["sha256", "sha384", "sha512"]),
            help=N_("Hash; otherwise the one that suits the key."),
        ),
        option("--padding", type=click.Choice(["pkcs1v15", "pss"]), help=N_("Padding of an RSA signature.")),
        option(
            "--files-from",
            metavar="LIST",
            type=FilePath(),
            help=N_("Sign the files named in LIST, one a line; - reads standard input."),
        ),
        option("--null", is_flag=True, help=N_("The names in LIST end with NUL, as find -print0 writes them.")),
        option("--skip-signed", is_flag=True, help=N_("Leave out files whose signature is there and newer.")),
    )
    for decorate in reversed(parameters):
        function = decorate(function)
    return function


@command(
    help=N_(
        "Make a bare signature over a file: RSA, ECDSA (DER) or Ed25519. The file may have any size; - reads "
        "standard input."
    ),
    examples=[
        "dojang sign raw --key 'pkcs11:token=Hong;object=sign' report.pdf",
        "dojang sign raw --key 'pkcs11:token=Hong;object=sign' report.pdf -o report.sig --hash sha512",
        "find . -name '*.pdf' -print0 | dojang sign raw --key @hong --files-from - --null --skip-signed",
    ],
)
@_shared_options
@option("--plain-ecdsa", is_flag=True, help=N_("Write r and s side by side instead of DER."))
def raw(
    invocation: Invocation,
    *,
    address: str,
    hash_name: str | None,
    padding: str | None,
    plain_ecdsa: bool,
    **papers: Any,
) -> None:
    """Sign every file by the key; nothing heavy is loaded for a key on a token."""
    address, wanted = invocation.address(address), Papers(".sig", **papers)
    if _planned(invocation, address, wanted):
        return
    from dojang.signing.raw import RawOptions

    with _signer(invocation, address) as signer:
        _sign(invocation, "raw", wanted, signer, RawOptions(hash_name, padding, plain_ecdsa))


@command(
    help=N_(
        "Make a CMS (PKCS#7) signature with the certificate and its chain inside; the content too, unless "
        "--detached. The file may have any size; - reads standard input."
    ),
    examples=[
        "dojang sign cms --key 'pkcs11:token=Hong;object=sign' --detached report.pdf",
        "openssl cms -verify -binary -inform DER -in report.pdf.p7s -content report.pdf -CAfile root.pem",
    ],
)
@_shared_options
@option("--detached", is_flag=True, help=N_("Leave the content out of the signature."))
@option("--pem", is_flag=True, help=N_("Write PEM instead of DER."))
def cms(
    invocation: Invocation,
    *,
    address: str,
    hash_name: str | None,
    padding: str | None,
    detached: bool,
    pem: bool,
    **papers: Any,
) -> None:
    """Sign every file with the credential's certificate and chain."""
    address, wanted = invocation.address(address), Papers(".p7s", **papers)
    if _planned(invocation, address, wanted):
        return
    from dojang.cli.workplace import open_location_at
    from dojang.signing.cms import CmsOptions
    from dojang.signing.private_key import PrivateKeySigner

    with open_location_at(invocation, address) as location:
        stored = location.find(address)
        chain = location.chain_of(stored.certificate_der)
        options = CmsOptions(
            stored.certificate_der, chain, detached=detached, pem=pem, hash_name=hash_name, padding=padding
        )
        signer = PrivateKeySigner(location.private_key(stored.key_id))
        _sign(invocation, "cms", wanted, signer, options)


@contextmanager
def _signer(invocation: Invocation, address: str) -> "Iterator[DigestSigner]":
    """The key at ``address``; a token's key signs without ``cryptography`` being loaded."""
    if address[:7].lower() == "pkcs11:":
        from dojang.agent.signer import find_signer
        from dojang.pkcs11.uri import Pkcs11Uri

        uri = Pkcs11Uri.from_text(address)
        module = invocation.flags.module or invocation.settings.module or ""
        held = find_signer(address, module) if invocation.may_use_agent(uri) else None
        if held is not None:
            yield held
            return
        from dojang.cli.key import open_at

        with open_at(invocation, uri) as token:
            yield token.signer(label=uri.object, key_id=uri.id)
    else:
        from dojang.cli.workplace import open_location_at
        from dojang.signing.private_key import PrivateKeySigner

        with open_location_at(invocation, address) as location:
            yield PrivateKeySigner(location.private_key(location.find(address).key_id))


def _planned(invocation: Invocation, address: str, papers: Papers) -> bool:
    papers.check(json=invocation.flags.json)
    if not invocation.flags.plan:
        return False
    each = list(papers.each())
    text = N_("Sign {file} with {address} into {output}")
    steps = [say(text, file=file, address=address, output=output) for file, output in each]
    return invocation.planned(steps, output=[str(output) for _file, output in each])


def _sign(invocation: Invocation, name: str, papers: Papers, signer: "DigestSigner", options: Any) -> None:
    from dojang.signing.registry import signing_format

    sign_file = signing_format(name).load()
    if papers.many:
        from dojang.cli.batch import sign_all

        total = len(papers.files) if papers.files_from is None else None
        sign_all(invocation, papers.each(), total, sign_file, signer, options, skip_signed=papers.skip_signed)
    else:
        _sign_one(invocation, papers.files[0], papers.target(papers.files[0]), sign_file, signer, options)


def _sign_one(
    invocation: Invocation,
    file: Path,
    output: Path,
    sign_file: "Callable[..., Signed]",
    signer: "DigestSigner",
    options: Any,
) -> None:
    with invocation.out.progress(str(file), None) as progress:
        done = sign_file(_input(file), _output(output), signer, options, progress.reached)
    line = say("Signed {file} ({algorithm}): {output}", file=file, algorithm=done.algorithm, output=done.output)
    if output == STREAM:
        invocation.out.note(line)
    else:
        invocation.result(done._asdict(), line, quiet=[done.output])


def _input(file: Path) -> Path | BinaryIO:
    return sys.stdin.buffer if file == STREAM else file


def _output(file: Path) -> Path | BinaryIO:
    return sys.stdout.buffer if file == STREAM else file
