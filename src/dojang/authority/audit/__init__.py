"""What an authority did, on record for good: rows that only grow, each with the hash of the one before.

    with database.writing() as connection:
        …  # the change itself
        audit.record(connection, event="certificate-revoked", subject=serial, at=at, reason=reason)

The row is durable with the change or not at all. ``audit.acting("officer:7")`` says who is at work; unless it is said,
it is the person who runs the process. Which events there are and what each may tell is in ``events``; how a row is
hashed in ``chain``; what is signed in ``heads``; what is looked for in ``verify``.
"""

from dojang.authority.audit.actor import acting as acting
from dojang.authority.audit.actor import current_actor as current_actor
from dojang.authority.audit.record import moment_text as moment_text
from dojang.authority.audit.record import record as record
from dojang.authority.audit.record import record_alike as record_alike
from dojang.authority.audit.record import record_many as record_many
