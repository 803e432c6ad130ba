"""``dojang verify``: is this signature good, and who made it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.progress import Progress
from dojang.errors import FileUnreadable, Usage, VerificationFailed

if TYPE_CHECKING:
    from dojang.signing.verification import Trust, Verification

_PATH = FilePath()


@command(
    help=N_(
        "Check a CMS signature: that the content is what was signed, by whom, and that the certificate leads to one "
        "that is trusted. With --certificate, FILE is a bare signature over --content."
    ),
    examples=[
        "dojang verify report.pdf.p7s --content report.pdf --trust root.pem",
        "dojang verify report.pdf.sig --content report.pdf --certificate hong.pem --trust root.pem",
    ],
)
@argument("file", metavar="FILE", type=_PATH)
@option("--content", type=_PATH, metavar="FILE", help=N_("The signed file, when it is not inside the signature."))
@option("--certificate", type=_PATH, metavar="FILE", help=N_("The signer's certificate, for a bare signature."))
@option("--trust", type=_PATH, metavar="FILE", multiple=True, help=N_("Certificates to trust; may be given again."))
@option(
    "--crl", type=_PATH, metavar="FILE", multiple=True, help=N_("Revocation list to look into; may be given again.")
)
@option("--extract", type=_PATH, metavar="OUT", help=N_("Write the content here, only when everything is good."))
def verify(
    invocation: Invocation,
    file: Path,
    content: Path | None,
    certificate: Path | None,
    trust: tuple[Path, ...],
    crl: tuple[Path, ...],
    extract: Path | None,
) -> None:
    """Print signers and checks; a signature that is not good is ``VerificationFailed`` with every check."""
    if certificate is not None and content is None:
        raise Usage(problem=N_("A bare signature needs the signed file: give it with --content."))
    believed = _trust(invocation, trust, crl)
    try:
        found = _check(invocation, file, content, certificate, believed, extract)
    except VerificationFailed as error:
        raise _explained(error, believed) from error
    invocation.result(_data(found), lambda: _text(invocation, found))


def _check(
    invocation: Invocation,
    file: Path,
    content: Path | None,
    certificate: Path | None,
    trust: "Trust",
    extract: Path | None,
) -> "Verification":
    from dojang.signing.verify import verify_cms

    with invocation.out.progress(str(content or file), None) as progress:
        if certificate is not None and content is not None:
            return _check_raw(file, content, certificate, trust, progress)
        return verify_cms(file, trust=trust, content=content, extract_to=extract, on_progress=progress.reached)


def _explained(error: VerificationFailed, trust: "Trust") -> VerificationFailed:
    """The same error with facts as ``--json`` prints them, and what failed in the person's language."""
    from dojang.signing.verification import Verification

    found = error.facts.get("verification")
    if not isinstance(found, Verification):
        return error
    failed = [check for check in found.checks if not check.ok]
    problems = [f"{_(check.name)}: {say('{detail}', detail=check.detail)}" for check in failed]
    advice = None
    if not trust.anchors_der and [check.name for check in failed] == ["path"]:
        advice = N_(
            "Say whom you trust: --trust FILE with the authority's certificate, or trust-anchors in the settings."
        )
    return VerificationFailed(next_step=advice, problems=problems or error.facts["problems"], **_data(found))


def _trust(invocation: Invocation, anchors: tuple[Path, ...], crls: tuple[Path, ...]) -> "Trust":
    """What is named on the command line, else what the settings trust."""
    from dojang.signing.verification import Trust
    from dojang.x509.reading import certificates_in

    files = anchors or invocation.settings.trust_anchors
    return Trust(
        anchors_der=tuple(der for file in files for der in certificates_in(_read(file), file)),
        crls_der=tuple(_read(file) for file in crls),
    )


def _check_raw(file: Path, content: Path, certificate: Path, trust: "Trust", progress: Progress) -> "Verification":
    from dojang.signing.verify_raw import verify_raw
    from dojang.x509.reading import certificates_in

    certificate_der = certificates_in(_read(certificate), certificate)[0]
    believed = trust if trust.anchors_der else None
    return verify_raw(
        content, _read(file), certificate_der=certificate_der, trust=believed, on_progress=progress.reached
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileUnreadable(path=path, problem=error.strerror or "") from error


def _data(found: "Verification") -> dict[str, Any]:
    signers = [
        {"subject": one.subject, "serial": one.serial, "algorithm": one.algorithm, "signed_at": one.signed_at}
        for one in found.signers
    ]
    checks = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in found.checks]
    return {"valid": found.valid, "format": found.format, "signers": signers, "checks": checks}


def _text(invocation: Invocation, found: "Verification") -> str:
    lines = [say("The signature is good.")]
    for one in found.signers:
        moment = say(", signed {signed_at}", signed_at=one.signed_at) if one.signed_at else ""
        lines.append(say("Signed by {subject} ({algorithm})", subject=one.subject, algorithm=one.algorithm) + moment)
    rows = [[_(check.name), "✓" if check.ok else "✗", say("{detail}", detail=check.detail)] for check in found.checks]
    return "\n".join([*lines, invocation.out.table([N_("Check"), "", N_("Detail")], rows)])
