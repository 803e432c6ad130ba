"""What is shipped, and from what it is built."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()


def wanted() -> list[Requirement]:
    """Every requirement of the project, its extras and its groups."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    lists = [PROJECT["project"]["dependencies"], *extras, *PROJECT["dependency-groups"].values()]
    return [Requirement(text) for texts in lists for text in texts]


def test_the_lock_fits_the_project():
    """Every requirement is pinned in the lock file to a version that satisfies it."""
    pinned = dict(re.findall(r"^([a-z0-9.-]+)==([^ ]+)", LOCK, re.MULTILINE))
    unmet = [str(one) for one in wanted() if not one.specifier.contains(pinned.get(one.name.lower(), "0"))]
    assert unmet == []


def test_the_lock_names_no_place():
    """Every line of the lock file is a pin or a hash: it says what to install, never from where."""
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.match(r"[a-z0-9.-]+==| +--hash=sha256:[0-9a-f]{64}", line)] == []
    assert "://" not in LOCK


def test_the_wheel_is_complete(tmp_path):
    """A wheel carries the licence, the marker for type checkers, every certificate profile and every catalogue."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    data = [path for kind in ("*.toml", "*.po") for path in (ROOT / "src").rglob(kind)]
    needed = {str(path.relative_to(ROOT / "src")).removesuffix(".po") for path in data} | {"dojang/py.typed"}
    assert needed <= {name.removesuffix(".mo") for name in names}
    assert any(name.endswith("licenses/LICENSE") for name in names)
