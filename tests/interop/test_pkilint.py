"""Certificates and lists that dojang's authority made, judged by pkilint against RFC 5280."""

import json
import sys
from pathlib import Path

import pytest

ALGORITHMS = ("rsa-2048", "rsa-3072", "ec-p256", "ec-p384", "ec-p521", "ed25519")
SCRIPTS = Path(sys.executable).parent


def findings(printed: str) -> list[str]:
    """The findings of ERROR and above as ``code at node``."""
    results = json.loads(printed)["results"]
    return [f"{one['code']} at {part['node_path']}" for part in results for one in part["finding_descriptions"]]


@pytest.mark.parametrize("name", ["root", "issuing", *ALGORITHMS])
def test_certificates_have_no_error(office, read, name):
    """No certificate of the path has a finding that pkilint calls an error."""
    printed = read(SCRIPTS / "lint_pkix_cert", "lint", "-s", "ERROR", "-f", "JSON", office.folder / f"{name}.pem")
    assert findings(printed) == []


@pytest.mark.parametrize("form", [[], ["--root"]], ids=["issuing", "root"])
def test_revocation_lists_have_no_error(office, read, form, tmp_path):
    """Neither authority's revocation list has a finding that pkilint calls an error."""
    office.dojang("ca", "crl", *form, "-o", tmp_path / "list.crl")
    printed = read(
        SCRIPTS / "lint_crl", "lint", "-p", "PKIX", "-t", "CRL", "-s", "ERROR", "-f", "JSON", tmp_path / "list.crl"
    )
    assert findings(printed) == []
