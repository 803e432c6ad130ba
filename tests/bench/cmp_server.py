"""An authority that answers CMP on loopback until its standard input ends: cmp_server.py FOLDER MODULE URI PIN_FILE.

Prints its port, then for each line that it reads the CPU seconds it has used.
"""

import sys
from pathlib import Path
from time import process_time

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.authority.conversation.serving import NAME, served

from dojang.authority import open_authority
from dojang.cli.authority_tokens import AuthorityTokens
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret


def main() -> None:
    folder, module, uri, pin_file = sys.argv[1:]
    search, pin = ModuleSearch(module=module, discover=False), Secret(Path(pin_file).read_text())
    with (
        open_token(uri, pin, search=search) as token,
        open_authority(Path(folder), NAME, AuthorityTokens(lambda _address: token)) as authority,
        served(authority) as port,
    ):
        print(port, flush=True)
        for _ in sys.stdin:
            print(process_time(), flush=True)


main()
