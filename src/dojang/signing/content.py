"""The digests of a content that is seen once and never kept."""

import hashlib
from collections.abc import Iterable

KEPT = 16 << 20


class ContentDigest:
    """Hashes everything given to ``update`` by every name; keeps the content itself when asked, up to 16 MiB."""

    def __init__(self, hash_names: Iterable[str], *, keep: bool = False) -> None:
        """Start empty."""
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in hash_names}
        self._kept: bytearray | None = bytearray() if keep else None
        self.head = b""
        self.size = 0

    def update(self, part: memoryview) -> None:
        """The next part of the content."""
        for running in self._hashes.values():
            running.update(part)
        if len(self.head) < 16:
            self.head += bytes(part[: 16 - len(self.head)])
        self.size += len(part)
        if self._kept is not None:
            self._keep(part)

    def digest(self, hash_name: str) -> bytes | None:
        """The digest, or ``None`` when this hash was not asked for."""
        running = self._hashes.get(hash_name)
        return running.digest() if running is not None else None

    def message(self) -> bytes | None:
        """The content itself, where it was kept and was not too long."""
        return bytes(self._kept) if self._kept is not None else None

    def _keep(self, part: memoryview) -> None:
        if self._kept is None or self.size > KEPT:
            self._kept = None
        else:
            self._kept += part
