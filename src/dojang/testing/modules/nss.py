"""NSS softokn: the key database of Firefox and Thunderbird, a folder of SQLite files; it wants an init string."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dojang.testing.modules.parts import library, new_pin, program, run
from dojang.testing.setup import TokenSetup


@contextmanager
def bring_up(folder: Path) -> Iterator[TokenSetup]:
    """A fresh database with a password, which is the user PIN; there is no security officer."""
    database = folder / "database"
    database.mkdir()
    pin, pin_source = new_pin(folder, "user.pin")
    create = [program("certutil", "libnss3-tools"), "-N", "-d", f"sql:{database}", "-f", str(folder / "user.pin")]
    run(folder, create)
    yield TokenSetup(
        name="nss",
        module=library("libsoftokn3.so", "libnss3"),
        label="NSS Certificate DB",
        serial="0000000000000000",
        pin=pin,
        so_pin=None,
        pin_source=pin_source,
        so_pin_source=None,
        environment={},
        init_string=f"configdir='sql:{database}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=",
    )
