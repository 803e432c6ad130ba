"""The folder of a local authority: what is in it, and which folders are one. Loads nothing that opens a database."""

from pathlib import Path
from typing import Final

STORE_NAME: Final = "store.sqlite"
SETTINGS_NAME: Final = "authority.toml"
CRL_NAME: Final = "crl.der"
ROOT_CRL_NAME: Final = "root-crl.der"


def is_authority(folder: Path) -> bool:
    """Whether an authority is founded there: its records are in the folder, or its settings say where they are."""
    return (folder / STORE_NAME).exists() or (folder / SETTINGS_NAME).exists()


def authority_names(directory: Path) -> list[str]:
    """The names of the authorities in ``directory``, in order; a missing folder has none."""
    return sorted(path.name for path in directory.glob("[!.]*") if is_authority(path))
