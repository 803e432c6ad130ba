"""Signing through the agent: a whole ``dojang sign raw`` against bare Python, and its socket against our own login."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

from place import Place, Row, timed

from signing import rate

COMMAND_TARGET = 3.5
SOCKET_TARGET = 0.8
ALGORITHMS = {"rsa-2048": SOCKET_TARGET, "ec-p256": None}


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    dojang = Path(sys.executable).with_name("dojang")
    pin = ["--pin-source", place.pin_source]
    os.environ["DOJANG_AGENT_SOCK"] = str(place.folder / "agent" / "agent.sock")
    for algorithm in ALGORITHMS:
        timed([dojang, "key", "generate", place.uri, "--algorithm", algorithm, "--label", algorithm, *pin])
    keys = [word for algorithm in ALGORITHMS for word in ("--key", f"{place.uri};object={algorithm}")]
    subprocess.run(
        list(map(str, [dojang, "agent", "start", *keys, *pin, "--quiet"])), check=True, stdout=subprocess.DEVNULL
    )
    try:
        return [*_commands(place, dojang, rounds), *_sockets(place, rounds, seconds)]
    finally:
        subprocess.run([str(dojang), "agent", "stop", "--quiet"], check=True)


def _commands(place: Place, dojang: Path, rounds: int) -> list[Row]:
    document, output = place.folder / "document", place.folder / "out"
    document.write_bytes(b"to be signed")
    commands = {"python": [sys.executable, "-c", "pass"]} | {
        algorithm: [dojang, "sign", "raw", "--key", f"{place.uri};object={algorithm}", document, "-o", output]
        for algorithm in ALGORITHMS
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        timed(command)  # writes bytecode and fills the file cache
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(timed(command))
    bare = times["python"]
    return [_command_row(algorithm, times[algorithm], bare) for algorithm in ALGORITHMS]


def _command_row(algorithm: str, times: list[float], bare: list[float]) -> Row:
    ratio = median(a / b for a, b in zip(times, bare, strict=True))
    detail = f"{median(times) * 1000:.1f} ms, bare python {median(bare) * 1000:.1f} ms"
    return Row("agent", f"dojang sign raw, {algorithm}", ratio, COMMAND_TARGET, False, detail)


def _sockets(place: Place, rounds: int, seconds: float) -> list[Row]:
    from dojang.agent.signer import find_signer
    from dojang.pkcs11 import ModuleSearch, open_token
    from dojang.secret import Secret

    rows = []
    digest = bytes(range(32))
    search = ModuleSearch(module=place.module, discover=False)
    with open_token(place.uri, Secret(place.pin), search=search) as token:
        for algorithm, target in ALGORITHMS.items():
            there = find_signer(f"{place.uri};object={algorithm}")
            assert there is not None
            ways = {"here": token.signer(label=algorithm), "there": there}
            rates: dict[str, list[float]] = {who: [] for who in ways}
            for _ in range(rounds):
                for who, signer in ways.items():
                    sign = partial(signer.sign_digest, digest, "sha256", plain=True)
                    rates[who].append(rate(sign, 1, seconds))
            ratio = median(a / b for a, b in zip(rates["there"], rates["here"], strict=True))
            detail = f"{median(rates['there']):,.0f}/s, in this process {median(rates['here']):,.0f}/s"
            rows.append(Row("agent", f"{algorithm} through the socket", ratio, target, True, detail))
    return rows
