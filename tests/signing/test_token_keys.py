"""Keys on a real token sign in every format; the token is asked for one signature."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret
from dojang.signing.cms import CmsOptions, sign_file
from dojang.signing.private_key import PrivateKeySigner
from dojang.signing.raw import RawOptions, sign_raw
from dojang.signing.verify import verify_cms
from dojang.signing.verify_raw import verify_raw


@pytest.fixture(scope="module")
def token(make_token, softhsm_module):
    made = make_token()
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(made.uri, Secret(made.pin), search=search) as opened:
        yield opened


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256", "ec-p384", "ec-p521", "ed25519"])
def test_a_token_key_signs_every_format(pki, token, document, tmp_path, algorithm) -> None:
    """As a lean signer and as a ``cryptography`` key; RSA with both paddings."""
    key = token.generate_key_pair(algorithm, label=algorithm)
    certificate_der = pki.certificate("Token", key, "Issuing", pki.issuing_key).public_bytes(Encoding.DER)
    for signer in (token.signer(label=algorithm), PrivateKeySigner(key)):
        for padding in ("pkcs1v15", "pss") if algorithm == "rsa-2048" else (None,):
            signature, scheme = sign_raw(document, signer, RawOptions(padding=padding))
            found = verify_raw(document, signature, certificate_der=certificate_der, padding=padding)
            assert found.signers[0].algorithm == scheme.label
            options = CmsOptions(certificate_der, pki.chain_der, padding=padding)
            done = sign_file(document, tmp_path / "m", signer, options)
            assert verify_cms(tmp_path / "m", trust=pki.trust).signers[0].algorithm == done.algorithm == scheme.label
