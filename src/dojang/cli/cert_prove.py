"""``dojang cert prove``: pass factors for a key whose certificate another program will ask for."""

import hashlib

from dojang.cli.context import Invocation
from dojang.cli.elsewhere import authority_at, authority_options
from dojang.cli.factor_words import factor_name
from dojang.cli.factors import FactorPrompts, factor_options
from dojang.cli.files import read_file
from dojang.cli.frame import command, option
from dojang.cli.language import N_, _, say
from dojang.cli.meant import is_address
from dojang.cli.workplace import workplace
from dojang.cmp.urls import is_url
from dojang.errors import Usage


@command(
    help=N_(
        "Pass the factors that an authority asks for before it certifies a key, for another program that will ask for "
        "the certificate with the same reference number: OpenSSL's, for one. What was passed is good for that key, for "
        "one certificate, and for a few minutes."
    ),
    examples=[
        "dojang cert prove --key hong.pem --ca https://ca.example/ --reference 1234567890 --code-source prompt",
        "dojang cert prove --key 'pkcs11:token=Hong;object=sign' --ca https://ca.example/ --reference 1234567890 "
        "--code-source prompt --factor sms=prompt --factor otp=oath:",
    ],
)
@option(
    "--key",
    metavar="FILE|ADDRESS",
    required=True,
    help=N_("The key: a file with it, with its public key or a request, or where it lies."),
)
@option("--ca", metavar="URL", required=True, help=N_("The authority that will be asked."))
@authority_options
@factor_options
def prove(invocation: Invocation, key: str, ca: str) -> None:
    """Nothing is asked for but factors."""
    from dojang.lifecycle.prove import key_at, key_in

    if not is_url(ca):
        raise Usage(problem=N_("factors are passed beforehand for an authority elsewhere; name it by its URL"))
    step = say("Pass what {authority} asks for before it certifies this key", authority=ca)
    if invocation.planned([step], authority=ca, key=key):
        return
    with workplace(invocation) as place:
        if is_address(key):
            address: str | None = invocation.address(key)
            spki_der = key_at(place, str(address))
        else:
            address, spki_der = None, key_in(read_file(key), key)
        with authority_at(invocation, ca, place.ledger) as authority:
            sitting = authority.factors_for_key(spki_der)
            FactorPrompts(invocation, address)(sitting)
            passed = sitting.wanted().passed
    data = {"authority": ca, "key": hashlib.sha256(spki_der).hexdigest(), "passed": list(passed)}
    text = _("Nothing is asked for.")
    if passed:
        names = ", ".join(map(factor_name, passed))
        text = say("Passed for this key: {factors}. Now ask for the certificate.", factors=names)
    invocation.result(data, text, quiet=list(passed))
