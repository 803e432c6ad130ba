"""SoftHSM2: a token in files, in a folder of its own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dojang.testing.modules.parts import LABEL, library, new_pin, run
from dojang.testing.setup import TokenSetup

_CONFIGURATION = """directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
"""


@contextmanager
def bring_up(folder: Path) -> Iterator[TokenSetup]:
    """One token; nothing has to run for it."""
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(_CONFIGURATION.format(tokens=folder / "tokens"))
    module, environment = library("softhsm/libsofthsm2.so", "softhsm2"), {"SOFTHSM2_CONF": f"{folder}/softhsm2.conf"}
    pin, pin_source = new_pin(folder, "user.pin")
    so_pin, so_pin_source = new_pin(folder, "so.pin")
    dojang = [sys.executable, "-m", "dojang", "--module", str(module)]
    pins = ["--pin-source", pin_source, "--so-pin-source", so_pin_source]
    private = environment | {"DOJANG_HOME": str(folder / "home")}
    run(folder, [*dojang, "token", "init", "--label", LABEL, *pins], environment=private)
    yield TokenSetup(
        name="softhsm",
        module=module,
        label=LABEL,
        serial=next((folder / "tokens").iterdir()).name.replace("-", "")[-16:],
        pin=pin,
        so_pin=so_pin,
        pin_source=pin_source,
        so_pin_source=so_pin_source,
        environment=environment,
    )
