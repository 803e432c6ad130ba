"""Memory sticks for a process in a mount namespace of its own: real file systems on loop devices, mounted as desktops
mount them and known to udev's records. ``/run`` is covered, so nothing of it is seen outside.

Run as a script it plugs one in, then runs the command that follows with ``REMOVABLE_DISK`` naming it.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

RUN = Path("/run")
UDEV = RUN / "udev/data"


def prepare() -> None:
    """Cover ``/run``; to be called once, in a namespace that is nobody else's."""
    _command("mount", "--make-rprivate", "/")
    _command("mount", "-t", "tmpfs", "tmpfs", RUN)
    UDEV.mkdir(parents=True)


@dataclass
class Stick:
    """One stick; ``name`` is the folder it is mounted on, its label unless another has that."""

    label: str
    uuid: str
    name: str = ""
    megabytes: int = 8

    def __post_init__(self) -> None:
        self.name = self.name or self.label
        self.mount = RUN / "media/hong" / self.name
        self._image = RUN / f"{self.name}.img"
        self._image.touch()
        os.truncate(self._image, self.megabytes << 20)
        _command("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", "-L", self.label[:16], self._image)
        self._record: Path | None = None

    def plug(self, *options: str) -> None:
        self.mount.mkdir(parents=True, exist_ok=True)
        _command("mount", "-o", ",".join(("loop", *options)), self._image, self.mount)
        device = self.mount.stat().st_dev
        self._record = UDEV / f"b{os.major(device)}:{os.minor(device)}"
        label = "".join(one if one.isascii() and one.isalnum() else _escaped(one) for one in self.label)
        self._record.write_text(f"S:disk/by-x\nE:ID_FS_LABEL_ENC={label}\nE:ID_FS_UUID_ENC={self.uuid}\n")

    def pull(self) -> None:
        """As when somebody pulls it: whoever uses it still has it open. Its folder stays, empty."""
        _command("umount", "--lazy", self.mount)
        if self._record:
            self._record.unlink()

    def left_behind(self) -> list[str]:
        """What is in the folder where it was mounted."""
        return sorted(str(path) for path in self.mount.rglob("*"))


def _escaped(character: str) -> str:
    return "".join(f"\\x{octet:02x}" for octet in character.encode())


def _command(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True)


if __name__ == "__main__":
    prepare()
    stick = Stick("한글 STICK", "0A1B-2C3D", name="stick")
    stick.plug()
    done = subprocess.run(sys.argv[1:], env=os.environ | {"REMOVABLE_DISK": stick.label})
    stick.pull()
    sys.exit(done.returncode)
