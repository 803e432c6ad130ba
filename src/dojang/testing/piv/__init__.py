"""An emulated PIV card (NIST SP 800-73-4) that real card software drives through a real PC/SC daemon.

    from dojang.pkcs11 import ModuleSearch, open_token
    from dojang.secret import Secret
    from dojang.testing.piv import Ins, Slot, plugged_in, status

    with plugged_in() as (setup, card):
        search = ModuleSearch(module=str(setup.module), discover=False)
        with open_token(setup.uri, Secret(setup.pin), search=search) as token:
            token.log_in()
        assert card.verifications == 1 and card.tries_left == 3
        card.faults.add(status(0x6F00), on=Ins.GENERAL_AUTHENTICATE)

``python -m dojang.testing.piv --port N`` is the same card as a program, for a vpcd reader that runs already.
"""

from dojang.testing.piv.apdu import Ins, Status
from dojang.testing.piv.application import Slot, Use
from dojang.testing.piv.card import MANAGEMENT_KEY, PIN, PUK, Card
from dojang.testing.piv.faults import (
    Faults,
    Pulled,
    Reseated,
    damaged,
    noise,
    removal,
    reset,
    slow,
    status,
    tries_stated,
    truncated,
    wrong_length,
)
from dojang.testing.piv.plugged import PluggedIn, plugged_in

__all__ = [
    "MANAGEMENT_KEY",
    "PIN",
    "PUK",
    "Card",
    "Faults",
    "Ins",
    "PluggedIn",
    "Pulled",
    "Reseated",
    "Slot",
    "Status",
    "Use",
    "damaged",
    "noise",
    "plugged_in",
    "removal",
    "reset",
    "slow",
    "status",
    "tries_stated",
    "truncated",
    "wrong_length",
]
