"""A store of as many certificates as one likes, written by the database itself: a million of them in seconds."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, text

_FILL = """
INSERT INTO certificate (serial, signer, certificate_der, profile, subject, key_fingerprint, not_before_at,
                         not_after_at, recorded_at, changed_at, state)
WITH RECURSIVE counter (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM counter WHERE number < :count)
SELECT '1' || lower(hex(randomblob(19))), 'issuing', zeroblob(64), 'personal', 'CN=Subscriber ' || number,
       randomblob(32), :at, strftime('%Y-%m-%dT%H:%M:%S+00:00', :at, '+' || (:least + abs(random() % :spread)) ||
       ' seconds'), :at, :at, 'confirmed' FROM counter
"""


def fill(connection: Connection, count: int, at: datetime, *, least: timedelta, spread: timedelta) -> None:
    """Confirmed ones from ``at`` on, each good for ``least`` and up to ``spread`` more; the signer is ``issuing``."""
    seconds = {"least": int(least.total_seconds()), "spread": max(1, int(spread.total_seconds()))}
    connection.execute(text(_FILL), {"count": count, "at": at.isoformat(timespec="seconds"), **seconds})
