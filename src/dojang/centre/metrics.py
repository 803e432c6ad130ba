"""What the centre counts, for Prometheus: right for one process, and for several that write to one folder.

With ``PROMETHEUS_MULTIPROC_DIR`` in the environment before this is first used, every process counts into files of its
own there, and whoever is asked adds them up.
"""

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of one process. Labels are names of ours, never what a caller wrote."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry: CollectorRegistry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "dojang"}
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._issued: dict[tuple[str, str], Counter] = {}
        self._requests = Counter("requests", "Requests answered.", ["door", "status"], **own)
        self._seconds = Histogram(
            "request_seconds", "From the first byte of a request to its answer.", ["door"], buckets=_SECONDS, **own
        )
        self._certificates = Counter("certificates", "Certificates issued.", ["authority", "profile"], **own)
        self._failures = Counter("cmp_failures", "CMP requests refused, by failInfo.", ["fail_info"], **own)
        self._losses = Counter("hsm_session_losses", "Calls that found their HSM session gone.", **own)
        self._refusals = Counter("refused_connections", "Connections and requests turned away.", ["why"], **own)
        self._jobs = Counter("jobs", "Jobs that ended.", ["job", "outcome"], **own)
        self._messages = Counter(
            "messages", "Codes sent by message, or not.", ["authority", "channel", "outcome"], **own
        )
        self._under_way = Gauge(
            "work_under_way", "Pieces of work begun or waiting.", multiprocess_mode="livesum", **own
        )

    def answered(self, door: str, status: int, seconds: float) -> None:
        """A request came to its answer."""
        key = door, status
        known = self._known.get(key)
        if known is None:  # looked for once: it takes longer than to count
            known = self._known[key] = self._requests.labels(door, str(status)), self._seconds.labels(door)
        requests, duration = known
        requests.inc()
        duration.observe(seconds)

    def issued(self, authority: str, profile: str) -> None:
        """A certificate left the centre."""
        key = authority, profile
        known = self._issued.get(key)
        if known is None:
            known = self._issued[key] = self._certificates.labels(*key)
        known.inc()

    def cmp_failed(self, fail_info: str) -> None:
        """A CMP request was refused with this bit of PKIFailureInfo."""
        self._failures.labels(fail_info).inc()

    def sessions_lost(self, times: int) -> None:
        """So many calls found the HSM away, or their sessions forgotten by it."""
        self._losses.inc(times)

    def turned_away(self, why: str) -> None:
        """``rate``, ``busy``, ``body``, ``slow`` or ``connections``."""
        self._refusals.labels(why).inc()

    def job_ended(self, job: str, outcome: str) -> None:
        """A job ended, ``done`` or ``failed``."""
        self._jobs.labels(job, outcome).inc()

    def message(self, authority: str, channel: str, outcome: str) -> None:
        """A code went by ``sms``, ``ars`` or ``mail``, or should have: ``sent`` or ``failed``."""
        self._messages.labels(authority, channel, outcome).inc()

    def under_way(self, pieces: int) -> None:
        """How much the threads have to do just now."""
        self._under_way.set(pieces)

    def page(self) -> bytes:
        """Everything counted, as Prometheus reads it."""
        return page_of(self.registry)


def page_of(registry: "CollectorRegistry | None" = None) -> bytes:
    """The counts of this process; of all that share a folder, where there is one."""
    from prometheus_client import CollectorRegistry, generate_latest

    if os.environ.get(FOLDER_VARIABLE):
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    assert registry is not None
    return generate_latest(registry)


def forget_process(pid: int) -> None:
    """A process has died: what it had under way is nobody's; what it counted stays."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]
