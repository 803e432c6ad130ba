"""``python -m tests.contract.token`` runs the contract on every kind of token and writes the table in the README."""

import sys

from tests.contract.token.abilities import README, rewritten
from tests.contract.token.run import CHAPTERS, contract_on

from dojang.testing.modules import KINDS

columns = {}
for kind in KINDS:
    seen = contract_on(kind)
    failures = [failure for chapter in CHAPTERS for failure in seen.failures(chapter)]
    if failures:
        sys.exit(f"{kind} does not keep the contract:\n" + "\n".join(failures))
    columns[kind] = seen.abilities
README.write_text(rewritten(README.read_text(), columns))
