"""The p11-kit server is killed and started again under eight signing threads, several times."""

import os
import signal
import time
from pathlib import Path

from service import Calls, Service, tell, tries_wasted

from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.testing.modules import bring_up

KILLS = 4

with bring_up("p11-kit") as setup:
    os.environ.update(setup.environment)
    server, address = setup.daemons["p11-kit server"], setup.environment["P11_KIT_SERVER_ADDRESS"]
    search = ModuleSearch(module=str(setup.module), discover=False)
    with open_token(setup.uri, Secret(setup.pin), search=search) as token:
        keys = [token.generate_key_pair(kind, label=kind) for kind in ("rsa-2048", "ec-p256")]
        calls, seconds = Calls(token), []
        with Service(keys, threads=8) as service:
            for _ in range(KILLS):
                service.recovered(time.monotonic())
                server.stop(signal.SIGKILL)
                Path(address.removeprefix("unix:path=")).unlink(missing_ok=True)
                time.sleep(0.2)
                server.start()
                seconds.append(service.recovered(time.monotonic()))
        tell(**service.outcome(calls), tries_wasted=tries_wasted(token), seconds=seconds)
