"""``dojang key``: generate, list, show, delete."""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from dojang.cli.context import Invocation
from dojang.cli.describe import key_data
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, say
from dojang.errors import AlreadyExists, Ambiguous, NotFound, NotPermitted, Phrase

if TYPE_CHECKING:
    from dojang.pkcs11.objects import TokenObject
    from dojang.pkcs11.opened import OpenToken
    from dojang.pkcs11.uri import Pkcs11Uri

ALGORITHMS = ("rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521", "ed25519")


def parse(invocation: Invocation, address: str) -> "Pkcs11Uri":
    """The PKCS#11 URI that was typed or saved."""
    from dojang.pkcs11.uri import Pkcs11Uri

    return Pkcs11Uri.from_text(invocation.address(address))


def open_at(invocation: Invocation, uri: "Pkcs11Uri") -> "OpenToken":
    """The token that ``uri`` names, with the PIN asked for when something needs it."""
    from dojang.agent.opening import open_token

    bare = replace(uri.token_part(), pin_source=None, pin_value=None)
    return open_token(
        bare,
        invocation.pin_provider(uri),
        search=invocation.search(),
        guard=invocation.pin_guard(),
        last_try=invocation.last_try,
        agent=invocation.may_use_agent(uri),
    )


def address_of(token: "OpenToken", key: "TokenObject", *, alone: bool) -> str:
    """What names the key: its label where it is ``alone`` in having it, otherwise its CKA_ID as well."""
    from dojang.pkcs11.uri import Pkcs11Uri

    key_id = None if alone and key.name else key.key_id or None
    return str(Pkcs11Uri.from_text(token.address).for_object(object=key.name, id=key_id))


@command(
    help=N_("Make a key pair on a token. The private key is sensitive, cannot be read out and only signs."),
    examples=[
        "dojang key generate 'pkcs11:token=Hong' --algorithm ec-p256 --label sign",
        "dojang key generate 'pkcs11:token=Hong;object=sign' --algorithm rsa-2048",
    ],
)
@argument("address", metavar="ADDRESS")
@option("--algorithm", type=click.Choice(ALGORITHMS), default="ec-p256", show_default=True, help=N_("Kind of key."))
@option("--label", help=N_("Label of the key; otherwise the address's object, otherwise the algorithm."))
def generate(invocation: Invocation, address: str, algorithm: str, label: str | None) -> None:
    """Generate the pair; a key with the same label is ``AlreadyExists``."""
    uri = parse(invocation, address)
    label = label or uri.object or algorithm
    with open_at(invocation, uri) as token:
        text = N_("Make a key pair ({algorithm}) with the label {label} on token {token}")
        steps = [say(text, algorithm=algorithm, label=label, token=token.token.info.label)]
        if invocation.planned(steps, address=token.address, algorithm=algorithm, label=label):
            return
        if any(token.keys(label=label)) or (uri.id is not None and any(token.keys(key_id=uri.id))):
            raise AlreadyExists(
                what=Phrase(N_("Key {label}"), label=label),
                where=token.address,
                next_step=N_("Choose another --label, or see what is there: dojang key list '{where}'"),
            )
        token.generate_key_pair(algorithm, label=label, key_id=uri.id)
        made = _one(token, label=label, key_id=uri.id)
        where = address_of(token, made, alone=True)
    text = say("Made the key {label} ({algorithm}): {address}", label=label, algorithm=algorithm, address=where)
    hint = say("Next: dojang sign raw --key '{address}' FILE", address=where)
    invocation.result({"key": key_data(made, where)}, f"{text}\n{hint}", quiet=[where])


@command(
    help=N_("List the private keys on a token; needs its PIN."),
    examples=["dojang key list 'pkcs11:token=Hong'"],
)
@argument("address", metavar="ADDRESS")
def list_(invocation: Invocation, address: str) -> None:
    """Print every private key with its address."""
    uri = parse(invocation, address)
    with open_at(invocation, uri) as token:
        keys = list(token.keys(label=uri.object, key_id=uri.id))
        labels = Counter(key.label for key in keys)
        found = [(key, address_of(token, key, alone=labels[key.label] == 1)) for key in keys]
    columns = [N_("Label"), N_("Id"), N_("Algorithm"), N_("Address")]
    rows = [[key.label, key.key_id.hex(), key.algorithm or key.problem, where] for key, where in found]
    text = invocation.out.table(columns, rows) if rows else _("There is no key on this token.")
    data = {"keys": [key_data(key, where) for key, where in found]}
    invocation.result(data, text, quiet=[where for _key, where in found])


@command(
    help=N_("Show one key: algorithm, id and what it is allowed to do; needs the PIN."),
    examples=["dojang key show 'pkcs11:token=Hong;object=sign'"],
)
@argument("address", metavar="ADDRESS")
def show(invocation: Invocation, address: str) -> None:
    """Print the key that the address names; several are ``Ambiguous``."""
    uri = parse(invocation, address)
    with open_at(invocation, uri) as token:
        key = _one(token, label=uri.object, key_id=uri.id)
        where = address_of(token, key, alone=uri.id is None)
    lines = [
        say("Key: {label}", label=key.label),
        say("Address: {address}", address=where),
        say("Id: {id}", id=key.key_id),
        say("Algorithm: {algorithm}", algorithm=key.algorithm),
    ]
    lines += [f"  {name}: {_('yes') if value else _('no')}" for name, value in key.attributes.items()]
    invocation.result({"key": key_data(key, where)}, "\n".join(lines), quiet=[where])


@command(
    help=N_(
        "Destroy a key pair. The token's serial must be typed or passed. A key with a certificate is kept; "
        "'dojang cert delete' removes both."
    ),
    examples=["dojang key delete 'pkcs11:token=Hong;object=sign' --yes 1a2b3c4d5e6f7081"],
)
@argument("address", metavar="ADDRESS")
@option("--yes", metavar="SERIAL", help=N_("Serial of the token, to show that this key is meant."))
def delete(invocation: Invocation, address: str, yes: str | None) -> None:
    """Destroy both halves of the pair after the serial was confirmed."""
    uri = parse(invocation, address)
    with open_at(invocation, uri) as token:
        key = _one(token, label=uri.object, key_id=uri.id)
        where = address_of(token, key, alone=uri.id is None)
        if invocation.planned([say("Destroy the key {label} ({address})", label=key.label, address=where)]):
            return
        _refuse_unless_alone(token, key, where)
        token.token.refuse_doubtful_serial(label_given=uri.token is not None)
        what = say("the key {label}", label=key.label)
        invocation.confirm_serial(token.token.info.serial, yes, what=what, option="--yes SERIAL")
        count = token.destroy(key.key_id, "public") + token.destroy(key.key_id, "private")
    invocation.result({"address": where, "destroyed": count}, say("Destroyed the key {label}.", label=key.label))


def _refuse_unless_alone(token: "OpenToken", key: "TokenObject", where: str) -> None:
    """Destroying goes by CKA_ID, so nothing but this pair may have it."""
    if any(token.certificates(key_id=key.key_id)):
        raise NotPermitted(
            problem=Phrase(N_("a certificate belongs to the key {label}"), label=key.label),
            remedy=Phrase(N_("Destroy both with: dojang cert delete '{address}'"), address=where),
        )
    others = [address_of(token, other, alone=False) for other in token.keys(key_id=key.key_id)]
    if len(others) > 1 or not key.key_id:
        raise Ambiguous(what=Phrase(N_("Id {id}"), id=key.key_id), matches=others)


def _one(token: "OpenToken", *, label: str | None, key_id: bytes | None) -> "TokenObject":
    """The one private key that matches; none is ``NotFound``, a second is ``Ambiguous`` with both addresses."""
    found = list(token.keys(label=label, key_id=key_id))
    wanted = Phrase(N_("Key {label}"), label=label or (key_id or b"").hex() or "*")
    if not found:
        raise NotFound(what=wanted, where=token.address, command=f"dojang key list '{token.address}'")
    if len(found) > 1:
        raise Ambiguous(what=wanted, matches=[address_of(token, key, alone=False) for key in found])
    return found[0]
