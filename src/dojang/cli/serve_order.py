"""What a process of ``dojang serve`` is told: what to serve and how, and the PINs that were proved to be right."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojang.centre.limits import Limits, read_network
from dojang.centre.servers import UVICORN
from dojang.centre.tls import TlsFiles
from dojang.cli.context import Invocation
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.pin import PinProvider, PinRequest
    from dojang.pkcs11.uri import Pkcs11Uri


@dataclass(frozen=True, slots=True)
class Order:
    """What a process of the centre is to serve, and how."""

    names: tuple[str, ...]
    limits: Limits
    tls: TlsFiles | None
    threads: int
    access_log: bool
    root_online: bool
    jobs: bool
    level: str
    server: str = UVICORN

    def to_json(self) -> dict[str, Any]:
        """For a worker, who reads it with ``from_json``."""
        limits = asdict(self.limits) | {"trusted_proxies": [str(one) for one in self.limits.trusted_proxies]}
        tls = None if self.tls is None else {name: _plain(value) for name, value in asdict(self.tls).items()}
        return asdict(replace(self, tls=None)) | {"limits": limits, "tls": tls}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Order":
        limits = dict(data["limits"])
        limits["trusted_proxies"] = tuple(map(read_network, limits["trusted_proxies"]))
        tls = data["tls"]
        if tls is not None:
            files = {name: Path(value) for name, value in tls.items() if isinstance(value, str)}
            tls = TlsFiles(**{**tls, **files})
        return cls(**{**data, "names": tuple(data["names"]), "limits": Limits(**limits), "tls": tls})


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


class Pins:
    """The PINs of the tokens that the centre uses: those handed down, else from where the settings say, each once."""

    def __init__(self, invocation: Invocation, known: Mapping[str, str] | None = None) -> None:
        """``known`` by serial number of the token."""
        self._invocation = invocation
        self._known = {serial: Secret(pin) for serial, pin in (known or {}).items()}

    def for_token(self, uri: "Pkcs11Uri") -> "PinProvider":
        """The provider for the token of ``uri``."""
        ask = self._invocation.ca_pin_provider(uri)

        def provide(request: "PinRequest") -> Secret | None:
            if request.serial in self._known:
                return self._known[request.serial]
            pin = ask(request)
            if pin is not None:
                self._known[request.serial] = pin
            return pin

        return provide

    def to_hand_down(self) -> dict[str, str]:
        return {serial: pin.reveal().decode() for serial, pin in self._known.items()}
