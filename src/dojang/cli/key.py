"""``dojang key``: generate, list, show, delete; what takes keys in and out is in ``key_wrap``."""

from collections import Counter
from dataclasses import replace
from secrets import token_bytes
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from dojang.cli.context import Invocation
from dojang.cli.describe import key_data
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, say
from dojang.errors import AlreadyExists, Ambiguous, NotFound, NotPermitted, Phrase, Usage

if TYPE_CHECKING:
    from dojang.pkcs11.objects import TokenObject
    from dojang.pkcs11.opened import OpenToken
    from dojang.pkcs11.uri import Pkcs11Uri
    from dojang.pkcs11.wrapping import WrappingKey

ALGORITHMS = ("rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521", "ed25519")
WRAPPING = "aes-256"
TYPES = ("private", "secret-key")
BACKUP_COST = N_(
    "This key can be backed up, and that has a price: whoever knows the token's PIN can take it out under a wrapping "
    "key of his own, unless the security officer has marked those that may."
)
backup_under_option = option(
    "--backup-under",
    metavar="KEK",
    help=N_("Wrapping key on the same token, by label or address, under which the key may leave it for a backup."),
)


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
    help=N_(
        "Make a key pair on a token. The private key is sensitive, cannot be read out and only signs. "
        "aes-256 makes a wrapping key instead, under which keys made with --backup-under leave the token encrypted."
    ),
    examples=[
        "dojang key generate 'pkcs11:token=Hong' --algorithm ec-p256 --label sign",
        "dojang key generate 'pkcs11:token=Hong;object=sign' --algorithm rsa-2048",
        "dojang key generate 'pkcs11:token=HSM' --algorithm aes-256 --label backup",
        "dojang key generate 'pkcs11:token=HSM' --label seal --backup-under backup",
    ],
)
@argument("address", metavar="ADDRESS")
@option(
    "--algorithm",
    type=click.Choice((*ALGORITHMS, WRAPPING)),
    default="ec-p256",
    show_default=True,
    help=N_("Kind of key."),
)
@option("--label", help=N_("Label of the key; otherwise the address's object, otherwise the algorithm."))
@backup_under_option
def generate(invocation: Invocation, address: str, algorithm: str, label: str | None, backup_under: str | None) -> None:
    """Generate the pair; a key with the same label is ``AlreadyExists``."""
    uri = parse(invocation, address)
    label = label or uri.object or algorithm
    if backup_under is not None and algorithm == WRAPPING:
        raise Usage(problem=Phrase(N_("a wrapping key itself never leaves; custodians carry one: dojang key custody")))
    with open_at(invocation, uri) as token:
        text = N_("Make a key pair ({algorithm}) with the label {label} on token {token}")
        if algorithm == WRAPPING:
            text = N_("Make a wrapping key ({algorithm}) with the label {label} on token {token}")
        steps = [say(text, algorithm=algorithm, label=label, token=token.token.info.label)]
        if invocation.planned(steps, address=token.address, algorithm=algorithm, label=label):
            return
        _refuse_taken(token, label, uri.id)
        data = _make(invocation, token, algorithm, label, uri.id, backup_under)
        made = _one(token, label=label, key_id=uri.id)
        where = address_of(token, made, alone=True)
    text = say("Made the key {label} ({algorithm}): {address}", label=label, algorithm=algorithm, address=where)
    hint = say("Next: dojang sign raw --key '{address}' FILE", address=where)
    if algorithm == WRAPPING:
        hint = say(
            "Next: dojang key generate '{address}' --label NAME --backup-under {label}",
            address=where,
            label=quote(label),
        )
    invocation.result({"key": key_data(made, where), **data}, f"{text}\n{hint}", quiet=[where])


def _refuse_taken(token: "OpenToken", label: str, key_id: bytes | None) -> None:
    there = any(one.type in TYPES for one in token.private_objects(label=label))
    if there or (key_id is not None and any(token.keys(key_id=key_id))):
        raise AlreadyExists(
            what=Phrase(N_("Key {label}"), label=label),
            where=token.address,
            next_step=N_("Choose another --label, or see what is there: dojang key list '{where}'"),
        )


def _make(
    invocation: Invocation, token: "OpenToken", algorithm: str, label: str, key_id: bytes | None, under: str | None
) -> dict[str, Any]:
    """Make it, and say what more than usual holds of it."""
    from dojang.pkcs11.opened import NEW_KEY_ID_BYTES

    if algorithm == WRAPPING:
        from dojang.pkcs11.wrapping import generate_wrapping_key

        kek = generate_wrapping_key(token, label=label, key_id=key_id or token_bytes(NEW_KEY_ID_BYTES))
        return {"check": kek.check}
    if under is None:
        token.generate_key_pair(algorithm, label=label, key_id=key_id)
        return {}
    from dojang.locations import token_wrap

    kek = token_wrap.find(token, under)
    token_wrap.generate(token, algorithm, key_id=key_id or token_bytes(NEW_KEY_ID_BYTES), label=label, under=kek)
    warn_of_backup(invocation, kek)
    return {"backup": {"under": kek.label, "check": kek.check, "only_trusted": kek.trusted}}


def warn_of_backup(invocation: Invocation, kek: "WrappingKey") -> None:
    """A key that can be backed up is a key that can be taken away; by whom depends on the wrapping key."""
    trusted = N_("Only wrapping keys that the token's security officer has marked can take this key out.")
    invocation.out.warning(_(trusted if kek.trusted else BACKUP_COST))


@command(
    help=N_("List the private keys and the wrapping keys on a token; needs its PIN."),
    examples=["dojang key list 'pkcs11:token=Hong'"],
)
@argument("address", metavar="ADDRESS")
def list_(invocation: Invocation, address: str) -> None:
    """Print every key with its address."""
    uri = parse(invocation, address)
    with open_at(invocation, uri) as token:
        keys = _keys(token, label=uri.object, key_id=uri.id)
        labels = Counter(key.label for key in keys)
        found = [(key, address_of(token, key, alone=labels[key.label] == 1)) for key in keys]
        checks = {key.key_id: check for key in keys if (check := _check_of(token, key)) is not None}
    columns = [N_("Label"), N_("Id"), N_("Algorithm"), N_("Address")]
    rows = [[key.label, key.key_id.hex(), _kind_of(key, checks), where] for key, where in found]
    text = invocation.out.table(columns, rows) if rows else _("There is no key on this token.")
    data = {"keys": [{**key_data(key, where), **_check_data(key, checks)} for key, where in found]}
    invocation.result(data, text, quiet=[where for key, where in found])


def _keys(token: "OpenToken", *, label: str | None, key_id: bytes | None) -> "list[TokenObject]":
    """The private keys, and the AES keys after them."""
    found = [one for one in token.private_objects(label=label, key_id=key_id) if one.type in TYPES]
    return sorted(
        (one for one in found if one.type == "private" or one.algorithm == "aes"), key=lambda one: TYPES.index(one.type)
    )


def _check_of(token: "OpenToken", key: "TokenObject") -> str | None:
    """The check value of a wrapping key; nothing for other keys, nor for an AES key that does not wrap."""
    from dojang.errors import DojangError

    if key.type != "secret-key" or not key.key_id:
        return None
    from dojang.pkcs11.wrapping import wrapping_key

    try:
        return wrapping_key(token, key_id=key.key_id).check
    except DojangError:
        return None


def _check_data(key: "TokenObject", checks: dict[bytes, str]) -> dict[str, str]:
    return {"check": checks[key.key_id]} if key.type == "secret-key" and key.key_id in checks else {}


def _kind_of(key: "TokenObject", checks: dict[bytes, str]) -> str:
    if key.type == "secret-key" and key.key_id in checks:
        return say("{algorithm}, wraps, check value {check}", algorithm=key.algorithm, check=checks[key.key_id])
    return key.algorithm or key.problem


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
        check = _check_of(token, key)
    lines = [
        say("Key: {label}", label=key.label),
        say("Address: {address}", address=where),
        say("Id: {id}", id=key.key_id),
        say("Algorithm: {algorithm}", algorithm=key.algorithm),
    ]
    checked = {} if check is None else {"check": check}
    lines += [say("Check value: {check}", check=check)] if checked else []
    lines += [f"  {name}: {_('yes') if value else _('no')}" for name, value in key.attributes.items()]
    invocation.result({"key": key_data(key, where) | checked}, "\n".join(lines), quiet=[where])


@command(
    help=N_(
        "Destroy a key pair or a wrapping key. The token's serial must be typed or passed. A key with a certificate is "
        "kept; 'dojang cert delete' removes both. What was wrapped under a wrapping key can then be opened only where "
        "another token has it, or by its custodians."
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
        kinds = ("public", "private") if key.type == "private" else ("secret-key",)
        count = sum(token.destroy(key.key_id, kind) for kind in kinds)
    invocation.result({"address": where, "destroyed": count}, say("Destroyed the key {label}.", label=key.label))


def _refuse_unless_alone(token: "OpenToken", key: "TokenObject", where: str) -> None:
    """Destroying goes by CKA_ID, so nothing but this pair may have it."""
    if any(token.certificates(key_id=key.key_id)):
        raise NotPermitted(
            problem=Phrase(N_("a certificate belongs to the key {label}"), label=key.label),
            remedy=Phrase(N_("Destroy both with: dojang cert delete '{address}'"), address=where),
        )
    others = [address_of(token, other, alone=False) for other in _keys(token, label=None, key_id=key.key_id)]
    if len(others) > 1 or not key.key_id:
        raise Ambiguous(what=Phrase(N_("Id {id}"), id=key.key_id), matches=others)


def _one(token: "OpenToken", *, label: str | None, key_id: bytes | None) -> "TokenObject":
    """The one key that matches; none is ``NotFound``, a second is ``Ambiguous`` with both addresses."""
    found = _keys(token, label=label, key_id=key_id)
    wanted = Phrase(N_("Key {label}"), label=label or (key_id or b"").hex() or "*")
    if not found:
        raise NotFound(what=wanted, where=token.address, command=f"dojang key list '{token.address}'")
    if len(found) > 1:
        raise Ambiguous(what=wanted, matches=[address_of(token, key, alone=False) for key in found])
    return found[0]
