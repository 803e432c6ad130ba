"""opencryptoki's software token: the one here whose PIN has a counter of its own that locks.

Its state, lock files, shared memory and daemon are the system's. So the whole process that uses it runs in mount, IPC
and PID namespaces of its own (``AROUND``): nothing of the machine's own opencryptoki is touched, and all dies with it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dojang.testing.modules.parts import LABEL, library, new_pin, program, run
from dojang.testing.setup import BringUpFailed, TokenSetup

_NAMESPACES: Final = ("unshare", "--mount", "--ipc", "--pid", "--fork", "--mount-proc", "--kill-child")
# POSIX shared memory is files: a second token of this kind on the machine would find those of the first.
AROUND: Final = (*_NAMESPACES, "sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$@"', "sh")

OUTSIDE: Final = "DOJANG_TESTING_OUTSIDE"

_STATE: Final = Path("/var/lib/opencryptoki")
_FACTORY_SO_PIN: Final = "87654321"


def mount_namespace() -> str:
    """Which mount namespace this process is in (namespaces(7))."""
    return str(Path("/proc/self/ns/mnt").readlink())


@contextmanager
def bring_up(folder: Path) -> Iterator[TokenSetup]:
    """A fresh token, its factory SO PIN replaced. ``BringUpFailed`` outside of namespaces like those of ``AROUND``."""
    _refuse_outside()
    run(folder, [program("mount", "mount"), "-t", "tmpfs", "tmpfs", "/run"])  # the daemon's socket and its number
    locks = Path("/var/lock").resolve()
    locks.mkdir(parents=True, exist_ok=True)
    for place in (_STATE, locks):
        run(folder, [program("mount", "mount"), "-t", "tmpfs", "tmpfs", str(place)])
    for place in (_STATE / "swtok/TOK_OBJ", locks / "opencryptoki/swtok"):
        place.mkdir(parents=True)
    for top in (_STATE, locks / "opencryptoki"):
        for path in (top, *top.rglob("*")):
            shutil.chown(path, group="pkcs11")
            path.chmod(0o770)
    run(folder, [program("pkcsslotd", "opencryptoki")])
    yield _initialised(folder)


def _refuse_outside() -> None:
    """Nothing is mounted over the system's own state: whoever made the namespaces says in which one he was before."""
    if os.environ.get(OUTSIDE) in (None, mount_namespace()):
        raise BringUpFailed(
            "opencryptoki's state is the whole system's. Run what uses it as: "
            "python -m dojang.testing opencryptoki COMMAND"
        )


def _initialised(folder: Path) -> TokenSetup:
    from dojang.pkcs11 import ModuleSearch, PinGuard, list_tokens
    from dojang.secret import Secret

    module = library("opencryptoki/libopencryptoki.so.0", "libopencryptoki0")
    pin, pin_source = new_pin(folder, "user.pin")
    so_pin, so_pin_source = new_pin(folder, "so.pin")
    guard = PinGuard(folder / "bring-up-guard")
    (slot,) = list_tokens(ModuleSearch(module=str(module), discover=False)).empty_slots
    token = slot.initialize(label=LABEL, so_pin=Secret(_FACTORY_SO_PIN), user_pin=None, guard=guard)
    token.change_so_pin(Secret(_FACTORY_SO_PIN), Secret(so_pin), guard)
    token.unblock_pin(Secret(so_pin), Secret(pin), guard)
    return TokenSetup(
        name="opencryptoki",
        module=module,
        label=LABEL,
        serial=token.info.serial,
        pin=pin,
        so_pin=so_pin,
        pin_source=pin_source,
        so_pin_source=so_pin_source,
        environment={},
    )
