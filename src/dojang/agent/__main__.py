"""``python -m dojang.agent``: the process that ``dojang agent start`` begins, without a terminal and before any module.

Its arguments say where it lives and how long; the PIN comes later, over the connection that it inherits.
"""

import os
import socket
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """``FD SOCKET IDLE|never background|foreground``, as ``start`` gives them."""
    if len(arguments) != 4:
        sys.stderr.write("Use 'dojang agent start'.\n")
        return 2
    descriptor, path, idle, ground = arguments
    from dojang.pkcs11.seclusion import seclude

    seclude()
    os.umask(0o077)
    control = socket.socket(fileno=int(descriptor))
    control.set_inheritable(False)
    from dojang.agent.daemon import Daemon

    daemon = Daemon(Path(path), None if idle == "never" else float(idle))
    return daemon.run(control, foreground=ground == "foreground")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
