"""``dojang serve``: the certificate centre, in the foreground until it is told to end."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from dojang.cli.context import Invocation
from dojang.cli.frame import FilePath, command, option
from dojang.cli.language import N_, say
from dojang.cli.workplace import authority_names, chosen_authority
from dojang.errors import Phrase, Usage

if TYPE_CHECKING:
    from dojang.centre.limits import Network
    from dojang.centre.tls import TlsFiles
    from dojang.cli.serve_order import Order

CREDENTIAL = "ca-pin"
"""The systemd credential (LoadCredential=) with the PIN of the authority's token."""
UNIT = "dojang-serve.service"
_MOST_WORKERS = 64


@command(
    help=N_(
        "Serve the certificate centre: CMP, OCSP, revocation lists and officers' requests, for one local authority or "
        "several, until SIGTERM. SIGHUP reads the settings and the TLS files again. Metrics, /health and /ready have "
        "a listener of their own. The log, in JSON lines, goes to standard error. The root's key is never used."
    ),
    examples=[
        "dojang serve --ca office --ca-pin-source file:/etc/dojang/ca-pin",
        "dojang serve --listen 0.0.0.0:443 --tls-certificate centre.pem --tls-key centre.key --workers 4",
        "dojang serve --print-unit > /etc/systemd/system/dojang-serve.service",
    ],
)
@option("--ca", metavar="NAME", multiple=True, help=N_("Which authority; may be repeated. All of them unless said."))
@option("--listen", metavar="HOST:PORT", multiple=True, help=N_("Where to serve; 127.0.0.1:8080 unless said."))
@option(
    "--admin-listen",
    metavar="HOST:PORT",
    default="127.0.0.1:8081",
    show_default=True,
    help=N_("Where metrics, health and readiness are told; 'none' for nowhere."),
)
@option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, _MOST_WORKERS),
    default=1,
    show_default=True,
    help=N_("How many processes share the work."),
)
@option(
    "--server",
    type=click.Choice(("uvicorn", "granian")),
    default="uvicorn",
    show_default=True,
    help=N_(
        "What speaks HTTP. granian (dojang[granian]) takes no --client-ca; there a connection too many waits instead "
        "of hearing 503, and one whose header is too slow is cut off without 408."
    ),
)
@option("--tls-certificate", metavar="FILE", type=FilePath(), help=N_("Certificate for TLS with its chain, in PEM."))
@option("--tls-key", metavar="FILE", type=FilePath(), help=N_("Its key, in PEM and without a password."))
@option("--client-ca", metavar="FILE", type=FilePath(), help=N_("Whose certificates callers may show, in PEM."))
@option("--require-client-certificate", is_flag=True, help=N_("Serve nobody who shows none."))
@option("--rate", type=click.FloatRange(0), default=100, show_default=True, help=N_("Requests a second of one source."))
@option("--burst", type=click.IntRange(1), default=500, show_default=True, help=N_("So many of them at once."))
@option(
    "--max-body",
    metavar="BYTES",
    type=click.IntRange(1),
    default=262144,
    show_default=True,
    help=N_("Longest request."),
)
@option("--max-connections", type=click.IntRange(1), default=1000, show_default=True, help=N_("So many at a time."))
@option(
    "--request-seconds",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    help=N_("Longest time for a whole request."),
)
@option(
    "--drain",
    metavar="SECONDS",
    type=click.FloatRange(0),
    default=25,
    show_default=True,
    help=N_("How long what is under way may take when it is told to end."),
)
@option(
    "--notice",
    metavar="SECONDS",
    type=click.FloatRange(0),
    default=0,
    show_default=True,
    help=N_("How long before that it serves on, while /ready says no."),
)
@option("--trusted-proxy", metavar="NETWORK", multiple=True, help=N_("Whose X-Forwarded-For is believed."))
@option("--threads", type=click.IntRange(1, 256), default=8, show_default=True, help=N_("Threads of each process."))
@option("--no-access-log", is_flag=True, help=N_("No line in the log for each request."))
@option("--root-online", is_flag=True, help=N_("Let a root issue that has no issuing authority below it."))
@option("--no-jobs", is_flag=True, help=N_("Leave what is due now and then (lists, notices, expiry) to other hosts."))
@option("--print-unit", is_flag=True, help=N_("Print a systemd unit with the other options and do nothing else."))
@option("--worker", type=int, hidden=True, help=N_("For the processes that this one starts."))
def serve(
    invocation: Invocation,
    ca: tuple[str, ...],
    listen: tuple[str, ...],
    admin_listen: str,
    workers: int,
    server: str,
    tls_certificate: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    require_client_certificate: bool,
    rate: float,
    burst: int,
    max_body: int,
    max_connections: int,
    request_seconds: float,
    drain: float,
    notice: float,
    trusted_proxy: tuple[str, ...],
    threads: int,
    no_access_log: bool,
    root_online: bool,
    no_jobs: bool,
    print_unit: bool,
    worker: int | None,
) -> int:
    """Until SIGTERM or Ctrl-C."""
    if print_unit:
        return _print_unit(invocation)
    from dojang.centre.limits import Limits
    from dojang.centre.servers import check_server
    from dojang.cli import serve_process
    from dojang.cli.serve_order import Order

    _prepare(invocation)
    if worker is not None:
        return serve_process.work(invocation, worker)
    limits = Limits(
        body_bytes=max_body,
        request_seconds=request_seconds,
        connections=max_connections,
        rate=rate,
        burst=burst,
        drain_seconds=drain,
        notice_seconds=notice,
        trusted_proxies=_networks(trusted_proxy),
    )
    order = Order(
        names=tuple(ca) or tuple(authority_names(invocation)) or (chosen_authority(invocation, None),),
        limits=limits,
        tls=_tls(tls_certificate, tls_key, client_ca, require_client_certificate),
        threads=threads,
        access_log=not no_access_log,
        root_online=root_online,
        jobs=not no_jobs,
        level=invocation.flags.log_level or "info",
        server=server,
    )
    check_server(order.server, order.tls)
    return _serve(invocation, order, listen or ("127.0.0.1:8080",), admin_listen, workers)


def _serve(invocation: Invocation, order: "Order", where: tuple[str, ...], admin: str, workers: int) -> int:
    from dojang.cli import serve_process

    if invocation.planned(_plan(order, where, admin, workers), authorities=list(order.names)):
        return 0
    return serve_process.serve(invocation, order, where, None if admin == "none" else admin, workers)


def _prepare(invocation: Invocation) -> None:
    """A service asks nobody but its token, and has its PIN from where the service manager puts it."""
    flags, folder = invocation.flags, os.environ.get("CREDENTIALS_DIRECTORY")
    flags.no_agent = True
    if folder and not invocation.ca_pin_source and (Path(folder) / CREDENTIAL).exists():
        flags.ca_pin_source = f"file:{Path(folder) / CREDENTIAL}"


def _networks(texts: tuple[str, ...]) -> "tuple[Network, ...]":
    from dojang.centre.limits import read_network

    try:
        return tuple(map(read_network, texts))
    except ValueError as error:
        raise Usage(problem=Phrase("--trusted-proxy takes addresses and networks: {problem}", problem=error)) from error


def _tls(certificate: Path | None, key: Path | None, client_ca: Path | None, required: bool) -> "TlsFiles | None":
    from dojang.centre.tls import TlsFiles

    if (certificate is None) != (key is None):
        raise Usage(problem=N_("--tls-certificate and --tls-key go together"))
    if certificate is None or key is None:
        if client_ca is not None or required:
            raise Usage(problem=N_("Certificates of callers need --tls-certificate and --tls-key"))
        return None
    if required and client_ca is None:
        raise Usage(problem=N_("--require-client-certificate needs --client-ca"))
    return TlsFiles(certificate.absolute(), key.absolute(), client_ca and client_ca.absolute(), required)


def _plan(order: "Order", where: tuple[str, ...], admin: str, workers: int) -> list[str]:
    return [
        say("Open the authorities {names} and have each key sign a challenge", names=", ".join(order.names)),
        say("Listen on {addresses} with {workers} processes", addresses=", ".join(where), workers=workers),
        say("Tell metrics, health and readiness at {address}", address=admin),
    ]


def _print_unit(invocation: Invocation) -> int:
    from dojang.cli.renew_unit import unit_from

    text = unit_from(UNIT, user=False, words=_words_given())
    invocation.result({"name": UNIT, "text": text}, text.rstrip("\n"), quiet=[text.rstrip("\n")])
    return 0


def _words_given() -> list[str]:
    """The options of this very command line, for the service to be started with; it is started in another folder."""
    context = click.get_current_context()
    words: list[str] = []
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if not given or parameter.name == "print_unit":
            continue
        name, value = parameter.opts[0], context.params.get(parameter.name or "")
        for one in value if isinstance(value, tuple) else (value,):
            words += [name] if one is True else [name, str(one.absolute() if isinstance(one, Path) else one)]
    return words
