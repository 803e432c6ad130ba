"""A kill before everything that lasts while an authority is founded whose records are on a server."""

from tests.faults.conftest import Bench, strike_everywhere

from dojang.ledger import Ledger
from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.testing.postgres import private_postgres


def test_founding_on_a_server_killed_anywhere(bench: Bench, make_token, softhsm_module: str) -> None:
    """The same command founds it in the same database, or it is there already; whatever runs next leaves no key behind
    that is nobody's, and no other authority ever gets the database of one that is founded.
    """
    office = make_token()
    authorities = bench.home / "state" / "authorities"
    search = ModuleSearch(module=softhsm_module, discover=False)
    addresses: dict[str, str] = {}

    def keys(name: str) -> set[str]:
        with open_token(office.uri, Secret(office.pin), search=search) as token:
            return {key.label for key in token.keys(label=None) if key.label == name}

    def words(name: str, alias: str) -> list[str]:
        key = f"{office.uri};object={alias}?pin-source={office.pin_source}"
        return ["ca", "init", "--alias", alias, "--key", key, "--name", f"CN={alias}", "--database", addresses[name]]

    with private_postgres() as postgres:

        def prepare(name: str) -> list[str]:
            addresses[name] = addresses.get(name) or postgres.new_database()
            return words(name, name)

        def check(name: str, point: int) -> None:
            founded = (authorities / name).exists()
            if point // 2 % 2:
                other = bench.run(*words(name, f"{name}-other"), "--json")
                assert other.status == 0 or '"already-exists"' in other.out
                assert not founded or other.status != 0
                assert bench.run("renew", "run", "npki:").status in (0, 14)
                assert keys(name) == ({name} if founded else set())
                if other.status == 0:
                    return
            again = bench.run(*prepare(name))
            assert again.status == 0 or (authorities / name).exists(), again.err
            assert keys(name) == {name}
            assert bench.run("ca", "crl", "--ca", name).status == 0

        strike_everywhere(bench, prepare, check, every=5)
        assert bench.run("renew", "run", "npki:").status in (0, 14)
        with Ledger.open(bench.home / "state" / "ledger.sqlite") as ledger:
            assert ledger.incomplete() == []
