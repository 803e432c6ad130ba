"""``python -m dojang.testing.piv --port N``: a card to play with, in the vpcd reader that listens on that port.

The card is pulled when standard input ends. Lines typed there mean: ``remove``, ``insert``, ``show`` (the counters),
``slow SECONDS``, ``status WORD`` (hexadecimal, for the next command), ``vanish N`` (after N commands), ``quit``.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

from dojang.testing.piv import faults
from dojang.testing.piv.application import Slot
from dojang.testing.piv.card import HOLDER, KEYS, PIN, PUK, Card
from dojang.testing.piv.keys import ALGORITHMS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the card until its standard input ends; 2 for a slot or an algorithm that a card has not."""
    parser = argparse.ArgumentParser(prog="python -m dojang.testing.piv", description="An emulated PIV card.")
    parser.add_argument("--port", type=int, default=35963, help="the port of the vpcd reader (35963)")
    parser.add_argument("--pin", default=PIN)
    parser.add_argument("--puk", default=PUK)
    parser.add_argument("--tries", type=int, default=3, help="how many wrong PINs lock the PIN")
    parser.add_argument("--holder", default=HOLDER, help="the name in the certificates; OpenSC's token label")
    parser.add_argument("--key", action="append", type=_key, help="9a=rsa-2048, 9c=ec-p256, …; may be repeated")
    given = parser.parse_args(arguments)
    keys = dict(given.key) if given.key else KEYS
    with Card(pin=given.pin, puk=given.puk, tries=given.tries, holder=given.holder, keys=keys) as card:
        card.insert(given.port)
        print(f"A card of {given.holder} is in the reader at port {given.port}; PIN {given.pin}.", flush=True)
        for line in sys.stdin:
            if line.strip() == "quit":
                break
            print(_obey(card, given.port, line.split()), flush=True)
    return 0


def _key(text: str) -> tuple[Slot, str]:
    slot, _, algorithm = text.partition("=")
    if algorithm not in ALGORITHMS:
        raise argparse.ArgumentTypeError(f"the algorithm is one of {', '.join(ALGORITHMS)}")
    return Slot(int(slot, 16)), algorithm


def _obey(card: Card, port: int, words: list[str]) -> str:
    actions: Mapping[str, Callable[..., object]] = {
        "insert": lambda: card.insert(port),
        "remove": card.remove,
        "show": lambda: None,
        "slow": lambda seconds: card.faults.add(faults.slow(float(seconds)), times=None),
        "status": lambda word: card.faults.add(faults.status(int(word, 16))),
        "vanish": lambda after: card.faults.add(faults.removal(), after=int(after)),
    }
    try:
        actions[words[0]](*words[1:])
    except (IndexError, KeyError, TypeError, ValueError):
        return f"One of: {', '.join(actions)}, quit."
    place = "in" if card.inserted else "out"
    return f"{place}, tries {card.tries_left}, PUK tries {card.puk_tries_left}, uses of keys {card.signatures}"


if __name__ == "__main__":
    sys.exit(main())
