"""Give up: close an operation that was cut short and whose token or disk will never come back."""

import contextlib
from pathlib import Path

from dojang.errors import AuthorityError, DeviceError, NotFound, Phrase
from dojang.ledger import OperationRecord
from dojang.lifecycle.journal import withdraw
from dojang.lifecycle.scratch import wipe
from dojang.lifecycle.workplace import Workplace


def give_up(place: Workplace, operation_id: str) -> OperationRecord:
    """Close the operation as taken back without looking at its location; what was issued for it and never arrived is
    cancelled where the authority is still there, revoked where it had been confirmed; a scratch folder is wiped.

    ``NotFound`` when no such operation waits; one that a live process is at does not count as waiting.
    """
    for record in place.ledger.incomplete():
        operation = place.ledger.resume(record) if record.operation_id == operation_id else None
        if operation is None:
            continue
        with operation:
            if "authority" in record.facts:
                with contextlib.suppress(AuthorityError, DeviceError, NotFound):
                    withdraw(place, operation)
            if "folder" in record.facts:
                wipe(Path(str(record.facts["folder"])))
            operation.undo("given up")
        return record
    raise NotFound(
        what=Phrase("The operation {operation_id}", operation_id=operation_id),
        where=Phrase("the journal"),
        command="dojang doctor",
    )
