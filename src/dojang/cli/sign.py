"""``dojang sign``: one file or several, by a key on a token or in a folder."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from dojang.cli.context import Invocation
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.language import N_, say
from dojang.errors import Phrase, Usage

if TYPE_CHECKING:
    from dojang.signing.digest import DigestSigner
    from dojang.signing.registry import Signed

STREAM = Path("-")


def _shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every format takes: the key, the files, the output, hash and padding."""
    parameters = (
        argument("files", metavar="FILE…", nargs=-1, required=True, type=FilePath()),
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
    ],
)
@_shared_options
@option("--plain-ecdsa", is_flag=True, help=N_("Write r and s side by side instead of DER."))
def raw(
    invocation: Invocation,
    *,
    address: str,
    files: tuple[Path, ...],
    output: Path | None,
    hash_name: str | None,
    padding: str | None,
    plain_ecdsa: bool,
) -> None:
    """Sign every file by the key; nothing heavy is loaded for a key on a token."""
    address = invocation.address(address)
    outputs = _outputs(invocation, files, output, ".sig")
    if _planned(invocation, address, files, outputs):
        return
    from dojang.signing.raw import RawOptions

    with _signer(invocation, address) as signer:
        _sign_all(invocation, "raw", files, outputs, signer, RawOptions(hash_name, padding, plain_ecdsa))


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
    files: tuple[Path, ...],
    output: Path | None,
    hash_name: str | None,
    padding: str | None,
    detached: bool,
    pem: bool,
) -> None:
    """Sign every file with the credential's certificate and chain."""
    address = invocation.address(address)
    outputs = _outputs(invocation, files, output, ".p7s")
    if _planned(invocation, address, files, outputs):
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
        _sign_all(invocation, "cms", files, outputs, signer, options)


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


def _outputs(invocation: Invocation, files: tuple[Path, ...], output: Path | None, suffix: str) -> list[Path]:
    """Where each signature goes; what cannot be is ``Usage`` before any PIN is asked."""
    if output is not None and len(files) > 1:
        raise Usage(problem=Phrase(N_("-o names one file, and there are several to sign")))
    outputs = [output or (STREAM if file == STREAM else Path(f"{file}{suffix}")) for file in files]
    if invocation.flags.json and STREAM in outputs:
        raise Usage(problem=Phrase(N_("--json and the signature cannot both go to standard output; use -o")))
    return outputs


def _planned(invocation: Invocation, address: str, files: tuple[Path, ...], outputs: list[Path]) -> bool:
    steps = [
        say("Sign {file} with {address} into {output}", file=file, address=address, output=output)
        for file, output in zip(files, outputs, strict=True)
    ]
    return invocation.planned(steps, output=[str(output) for output in outputs])


def _sign_all(
    invocation: Invocation,
    name: str,
    files: tuple[Path, ...],
    outputs: list[Path],
    signer: "DigestSigner",
    options: Any,
) -> None:
    from dojang.signing.registry import signing_format

    sign_file = signing_format(name).load()
    done: list[Signed] = []
    for file, output in zip(files, outputs, strict=True):
        with invocation.out.progress(str(file), None) as progress:
            done.append(sign_file(_input(file), _output(output), signer, options, progress.reached))
    results = [{"output": one.output, "format": one.format, "algorithm": one.algorithm} for one in done]
    lines = [
        say("Signed {file} ({algorithm}): {output}", file=file, algorithm=one.algorithm, output=one.output)
        for file, one in zip(files, done, strict=True)
    ]
    if STREAM in outputs:
        invocation.out.note("\n".join(lines))
    else:
        data = results[0] if len(results) == 1 else {"results": results}
        invocation.result(data, "\n".join(lines), quiet=[one.output for one in done])


def _input(file: Path) -> Path | BinaryIO:
    return sys.stdin.buffer if file == STREAM else file


def _output(file: Path) -> Path | BinaryIO:
    return sys.stdout.buffer if file == STREAM else file
