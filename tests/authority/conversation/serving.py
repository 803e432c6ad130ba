"""An authority whose keys are on a token, served over HTTP on loopback, in this process."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dojang.authority import Founder, LocalAuthority, create_authority, open_authority
from dojang.centre.app import build
from dojang.centre.health import Pulse
from dojang.centre.host import Host
from dojang.centre.limits import Limits
from dojang.centre.metrics import Metrics
from dojang.centre.sockets import listen
from dojang.centre.state import Centre
from dojang.cli.authority_tokens import AuthorityTokens
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.x509.name import parse_name

NAME = "test"


def found_on(token: OpenToken, folder: Path, *, settings: str = "") -> LocalAuthority:
    """A root and an issuing authority, P-256, opened as a server opens them."""
    founders = []
    for number, label in enumerate(("root", "issuing"), 1):
        key = token.generate_key_pair("ec-p256", label=label, key_id=bytes((number,)))
        address = Pkcs11Uri.from_text(token.address).for_object(id=bytes((number,)), type="private").to_text()
        founders.append(Founder(parse_name(f"CN=Test {label},O=Example,C=KR"), key, address))
    root, issuing = founders
    create_authority(
        folder, name=NAME, subject=root.subject, key=root.key, key_address=root.key_address, issuing=issuing
    ).close()
    (folder / NAME / "authority.toml").write_text(settings)
    return open_authority(folder, NAME, AuthorityTokens(lambda _address: token))


@contextlib.contextmanager
def served(authority: LocalAuthority, **host: Any) -> Iterator[int]:
    """The port on which it answers."""
    state, pulse = Centre({authority.name: authority}, Metrics()), Pulse({}, every=1)
    sockets, limits = listen("127.0.0.1", 0), Limits(rate=0)
    host = Host(build(state, limits, pulse, ("cmp",)), state, limits, pulse, sockets, **host)
    thread = threading.Thread(target=host.run, kwargs={"signals": False})
    thread.start()
    assert host.started.wait(20)
    try:
        yield sockets[0].getsockname()[1]
    finally:
        host.stop()
        thread.join(20)
        state.desk.close()
        for one in sockets:
            one.close()
    assert not thread.is_alive()
