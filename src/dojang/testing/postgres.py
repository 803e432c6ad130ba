"""A PostgreSQL server for tests: private, on a socket in a folder of its own, gone with the process that started it.

    with private_postgres() as server:
        url = server.new_database()

It needs Debian's ``postgresql`` package, or the programs of another on ``PATH``. It never runs as root: started by
root, it runs as ``postgres`` or ``nobody``.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dojang.testing.daemon import Daemon
from dojang.testing.scratch import scratch
from dojang.testing.setup import BringUpFailed

USER: Final = "dojang"
_QUICK: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off")
_SMALL: Final = ("listen_addresses=", "shared_buffers=16MB", "max_connections=100", "log_min_messages=warning")


class PrivatePostgres:
    """One server. Get it from ``private_postgres()``."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self.folder = folder
        self._programs = _programs()
        self._as_other = _as_other()
        self._count = itertools.count(1)
        self._templates: set[str] = set()
        data = folder / "data"
        self._run("initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        settings = (*_SMALL, *(() if durable else _QUICK), f"unix_socket_directories={folder}")
        options = [word for setting in settings for word in ("-c", setting)]
        command = [*self._as_other, self._programs / "postgres", "-D", data, *options]
        self._daemon = Daemon(command, ready=self._answers, log=folder / "log")

    def start(self) -> None:
        """Up and answering when this returns."""
        self._daemon.start()

    def stop(self, *, immediate: bool = False) -> None:
        """Disconnect everybody; ``immediate`` is the crash of ``pg_ctl stop -m immediate``."""
        self._daemon.stop(signal.SIGQUIT if immediate else signal.SIGINT)

    def new_database(self, template: str | None = None) -> str:
        """The URL of a database that nobody has used; a copy of ``template``, which is the URL of another."""
        name = f"test{next(self._count)}"
        like = f' TEMPLATE "{_name_of(template)}"' if template else ""
        self.execute(f'CREATE DATABASE "{name}"{like}')
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """One statement, as the server's owner, outside any transaction."""
        import psycopg

        with psycopg.connect(f"dbname={database} user={USER} host={self.folder}", autocommit=True) as connection:
            connection.execute(statement)

    def _answers(self) -> bool:
        program = self._programs / "pg_isready"
        return subprocess.run([program, "-q", "-h", self.folder, "-U", USER, "-d", "postgres"]).returncode == 0

    def _run(self, program: str, *arguments: object) -> None:
        command = [*self._as_other, str(self._programs / program), *map(str, arguments)]
        run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
        if run.returncode:
            raise BringUpFailed(f"{program} failed: {run.stderr.strip()}")


@contextmanager
def private_postgres(*, durable: bool = False) -> Iterator[PrivatePostgres]:
    """A server that runs until the block ends; unless ``durable``, it keeps nothing when the machine stops."""
    with scratch("dojang-postgres-") as folder:
        _hand_over(folder)
        server = PrivatePostgres(folder, durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop(immediate=True)  # nothing of it is kept


def _programs() -> Path:
    """The folder with ``initdb`` and ``postgres``; the newest of several."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise BringUpFailed("PostgreSQL is not installed (Debian: apt install postgresql)")
    return found[-1].parent if found else Path(on_path or "").parent


def _as_other() -> list[str]:
    """What to put before a command of the server's, which refuses to run as root."""
    if os.geteuid() != 0:
        return []
    user = _other_user()
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise BringUpFailed("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def _hand_over(folder: Path) -> None:
    if os.geteuid() == 0:
        user = _other_user()
        os.chown(folder, user.pw_uid, user.pw_gid)


def _name_of(url: str) -> str:
    return url.split("?")[0].rsplit("/", 1)[-1]
