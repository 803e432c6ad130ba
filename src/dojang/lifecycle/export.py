"""Export: a credential in a new file that other programs read."""

from dataclasses import dataclass
from pathlib import Path

from dojang.errors import AlreadyExists
from dojang.lifecycle.copy import CopyOrder, Transferred, copy, plan_copy
from dojang.lifecycle.finish import twin_in
from dojang.lifecycle.scratch import refuse_present
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.address import PemAddress, Pkcs12Address


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """Which credential goes into which file; ``form`` is ``pkcs12`` or ``pem``."""

    address: str
    file: Path
    form: str = "pkcs12"
    label: str | None = None

    def as_copy(self) -> CopyOrder:
        """An export is a copy whose target is a file."""
        path = str(self.file.absolute())
        target = PemAddress(path) if self.form == "pem" else Pkcs12Address(path)
        return CopyOrder(self.address, target.to_text(), self.label)


def export_credential(order: ExportOrder, place: Workplace) -> Transferred:
    """Write the file; it has been opened again and its key has signed when this returns.

    ``KeyDoesNotLeave`` as for ``copy``, ``AlreadyExists`` for a file with anything else in it.
    """
    refuse_others(order, place)
    return copy(order.as_copy(), place)


def plan_export(order: ExportOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``export_credential`` would take, after the refusals that need no key."""
    refuse_others(order, place)
    return plan_copy(order.as_copy(), place)


def refuse_others(order: ExportOrder, place: Workplace) -> None:
    """A file that is there is left as it is, unless it holds this very credential: then there is nothing to do."""
    refuse_present(order.file, replace=True)
    if not order.file.exists():
        return
    wanted = order.as_copy()
    with place.open_location(order.address) as source, place.open_target(wanted.to) as target:
        if twin_in(target, source.find(order.address).certificate_der) is None:
            raise AlreadyExists(
                what=f"'{order.file.name}'",
                where=str(order.file.absolute().parent),
                address=order.address,
                to=wanted.to,
                next_step="Choose another name, or add it to that file: dojang location copy '{address}' --to '{to}'",
            )
