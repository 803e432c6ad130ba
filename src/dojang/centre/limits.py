"""How much and how fast: the figures that hold strangers off, and a bucket of tokens for each source."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from math import ceil

Network = IPv4Network | IPv6Network

MOST_SOURCES = 20_000
"""Sources that are remembered; whoever has been quiet longest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything a caller is held to. Seconds are of wall time; ``rate`` and ``burst`` are requests of one source."""

    body_bytes: int = 256 * 1024
    header_bytes: int = 32 * 1024
    header_seconds: float = 10.0
    request_seconds: float = 30.0
    connections: int = 1000
    rate: float = 100.0
    burst: int = 500
    drain_seconds: float = 25.0
    notice_seconds: float = 0.0
    trusted_proxies: tuple[Network, ...] = ()

    def shared_by(self, processes: int) -> "Limits":
        """The share of one of several processes that answer on the same socket."""
        from dataclasses import replace

        return replace(
            self,
            rate=self.rate / processes,
            burst=ceil(self.burst / processes),
            connections=ceil(self.connections / processes),
        )


class Buckets:
    """A token bucket for each source, in bounded memory. The addresses of an IPv6 network of 64 bits are one source."""

    def __init__(
        self, rate: float, burst: int, *, most: int = MOST_SOURCES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``rate`` tokens a second up to ``burst``; a rate of 0 lets everybody in."""
        self._rate, self._burst, self._most, self._clock = rate, burst, most, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._turn = threading.Lock()

    def __len__(self) -> int:
        return len(self._left)

    def wait_for(self, source: str) -> int:
        """Take one token: 0, or the whole seconds after which there will be one."""
        if self._rate <= 0:
            return 0
        key, now = _network_of(source), self._clock()
        with self._turn:
            tokens, at = self._left.pop(key, (float(self._burst), now))
            tokens = min(float(self._burst), tokens + (now - at) * self._rate)
            granted = tokens >= 1
            self._left[key] = (tokens - 1 if granted else tokens, now)
            if len(self._left) > self._most:
                self._left.popitem(last=False)
        return 0 if granted else max(1, ceil((1 - tokens) / self._rate))


def _network_of(source: str) -> str:
    if ":" not in source:
        return source
    address = _address(source)
    if not isinstance(address, IPv6Address):
        return source
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address.packed[:8] + bytes(8), 64)))


def read_network(text: str) -> Network:
    """An address or a network. Raises ``ValueError``."""
    return ip_network(text, strict=False)


def source_behind(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Who asks: the peer, or where the peer is a trusted proxy the last address of X-Forwarded-For that is not one.

    ``forwarded`` are the values of that header, each a list separated by commas; what cannot be read ends the search.
    """
    source = peer
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    while hops and is_trusted(source, trusted):
        hop = _address(hops.pop())
        if hop is None:
            break
        source = str(hop)
    return source


def is_loopback(source: str) -> bool:
    """Whether it is this machine."""
    address = _address(source)
    return address is not None and address.is_loopback


def is_trusted(source: str, trusted: Sequence[Network]) -> bool:
    """Whether it is one of these proxies."""
    address = _address(source)
    return address is not None and any(address.version == one.version and address in one for one in trusted)


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None
