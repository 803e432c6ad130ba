"""A PKCS#11 token: the key never leaves it; certificate, key pair and data share one CKA_ID."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dojang.errors import AlreadyExists, Ambiguous, DojangError, NotFound, NotPermitted, Phrase
from dojang.locations.base import IN_USE, R_OBJECT, Access, RObject, StoredCredential, Traits, WrappedKey
from dojang.locations.claims import TokenBoard
from dojang.locations.issuers import authority_facts, chain_among, is_authority, not_before
from dojang.locations.labels import Label, name_handed_over, retired_label, shown
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.locations.address import Address
    from dojang.locations.base import PrivateKey
    from dojang.npki.pkcs8 import Pkcs8
    from dojang.pkcs11 import OpenToken
    from dojang.pkcs11.objects import TokenObject
    from dojang.pkcs11.wrapping import WrappingKey

KIND: Final = "token"
TRAITS: Final = Traits(key_leaves=False, copyable=False, opened_by="pin", holds_r=True, watchable=True)

_KINDS: Final = ("cert", "data", "public", "private")

# A switch elsewhere gives the new one its name before it takes the old one's; who sees both looks again.
_LOOK_AGAIN_AFTER: Final = (0.05, 0.1, 0.2, 0.4)


class TokenLocation:
    """The credentials on one open token."""

    kind = KIND
    traits = TRAITS

    def __init__(self, token: "OpenToken", asked: Pkcs11Uri, r_object: RObject = R_OBJECT) -> None:
        """``asked`` is the address it was opened by: how its module was found goes into every address."""
        self._token = token
        self._r_object = r_object
        self._uri = replace(
            Pkcs11Uri.from_text(token.address),
            module_name=asked.module_name,
            module_path=asked.module_path,
        )
        self._made: set[bytes] = set()

    @property
    def address(self) -> str:
        return self._uri.to_text()

    def claim_board(self) -> TokenBoard:
        return TokenBoard(self._token)

    def credentials(self) -> Iterator[StoredCredential]:
        found = [one for one in self._certificates() if not is_authority(one.value)]
        names = Counter(one.label for one in found if Label.from_text(one.label).live)
        return (self._credential(one, named=names[one.label] == 1) for one in found)

    def find(self, address: str) -> StoredCredential:
        wanted = Pkcs11Uri.from_text(address)
        for pause in (*_LOOK_AGAIN_AFTER, None):
            found = self._matching(wanted)
            if pause is None or len(found) < 2 or wanted.object is None:
                break
            time.sleep(pause)
        if not found:
            raise self._missing(f"'{wanted}'" if wanted.names_credential else IN_USE)
        if len(found) > 1:
            matches = ", ".join(self._credential(one, named=False).address for one in found)
            raise Ambiguous(what=f"'{wanted}'", matches=matches)
        return self._credential(found[0], named=wanted.id is None)

    def chain_of(self, certificate_der: bytes) -> tuple[bytes, ...]:
        return chain_among(certificate_der, [one.value for one in self._certificates()])

    def check_free(self, *, label: str, subject_der: bytes) -> None:
        if not Label.from_text(label).live:
            raise NotPermitted(
                problem=Phrase("a label that ends in '{state}' means a state", state=label.rpartition(" (")[2]),
                remedy=Phrase("Choose another label."),
            )
        if any(self._certificates(label=label)):
            raise AlreadyExists(what=f"'{label}'", where=self.address)

    def generate(self, algorithm: str, *, key_id: bytes, label: str, replaces: bytes | None = None) -> "PrivateKey":
        if replaces is None:
            self._refuse_taken(label, key_id)
        key = self._token.generate_key_pair(algorithm, label=shown(label, replaces), key_id=key_id)
        self._made.add(key_id)
        return key

    def keep_random_number(self, random_number: Secret, *, key_id: bytes, replaces: bytes | None = None) -> None:
        """As ``TakesR``: before the key, so that nobody takes a key that is there for one that never had an R."""
        from dojang.locations import token_r

        token_r.refuse_without_room(self._token, Phrase("Choose another place for the key."))
        token_r.write(self._token, random_number, key_id, shown(self._r_object.label, replaces), self._r_object)

    def import_key(self, key: "Pkcs8", *, key_id: bytes, label: str, replaces: bytes | None = None) -> "PrivateKey":
        """As ``TakesKeys``; ``NotPermitted`` for a key with R where R cannot be kept, before anything is made."""
        from dojang.locations import token_r
        from dojang.locations.software_key import software_key

        pair = software_key(key)
        self._refuse_second_key(None if replaces is not None else label, key_id)
        if key.random_number is not None:
            token_r.refuse_without_room(self._token)
            # Before the key: nobody shall take a key that is there for one that never had an R.
            token_r.write(self._token, key.random_number, key_id, shown(self._r_object.label, replaces), self._r_object)
        with self._made_whole(key_id):
            imported = self._token.import_private_key(pair, label=shown(label, replaces), key_id=key_id)
        self._made.add(key_id)
        return imported

    @contextmanager
    def _made_whole(self, key_id: bytes) -> Iterator[None]:
        """No R stays for a key that did not come."""
        try:
            yield
        except DojangError:
            with suppress(DojangError):
                self._token.destroy(key_id)
            raise

    def find_key(self, address: str) -> tuple[bytes, str]:
        """As ``WrapsKeys``; a label may be that of its certificate: on cards the two have names of their own."""
        wanted = Pkcs11Uri.from_text(address)
        found = [one for one in self._token.keys(label=wanted.object, key_id=wanted.id) if not one.problem]
        if not found:
            stored = self.find(address)
            return stored.key_id, stored.label
        if len(found) > 1:
            matches = [str(self._uri.for_object(object=one.name, id=one.key_id or None)) for one in found]
            raise Ambiguous(what=f"'{wanted}'", matches=matches)
        _refuse_no_id(found[0].key_id)
        return found[0].key_id, found[0].label

    def wrapping_key(self, name: str) -> "WrappingKey":
        from dojang.locations import token_wrap

        return token_wrap.find(self._token, name)

    def keep_wrapping_key(self, value: bytes, *, key_id: bytes, label: str) -> "WrappingKey":
        from dojang.pkcs11.wrapping import import_wrapping_key

        if any(one.type == "secret-key" for one in self._token.private_objects(label=label)):
            raise AlreadyExists(what=Phrase("A wrapping key named {label}", label=label), where=self.address)
        return import_wrapping_key(self._token, value, label=label, key_id=key_id)

    def generate_wrappable(
        self, algorithm: str, *, key_id: bytes, label: str, under: "WrappingKey", replaces: bytes | None = None
    ) -> "PrivateKey":
        from dojang.locations import token_wrap

        if replaces is None:
            self._refuse_taken(label, key_id)
        label = shown(label, replaces)
        key = token_wrap.generate(self._token, algorithm, key_id=key_id, label=label, under=under)
        self._made.add(key_id)
        return key

    def wrap(self, key_id: bytes, under: "WrappingKey") -> WrappedKey:
        from dojang.locations import token_wrap

        return token_wrap.wrap(self._token, key_id, under, self.random_number(key_id))

    def unwrap(self, wrapped: WrappedKey, under: "WrappingKey", *, key_id: bytes, label: str) -> "PrivateKey":
        """As ``WrapsKeys``; ``NotPermitted`` for a key with R where R cannot be kept, before anything is made."""
        from dojang.locations import token_r, token_wrap

        self._refuse_second_key(label, key_id)
        if wrapped.random_number:
            token_r.refuse_without_room(self._token)
            random_number = token_wrap.unwrap_r(self._token, wrapped, under)
            token_r.write(self._token, random_number, key_id, self._r_object.label, self._r_object)
        with self._made_whole(key_id):
            key = token_wrap.unwrap(self._token, wrapped, under, key_id=key_id, label=label)
        self._made.add(key_id)
        return key

    def wrap_value(self, value: bytes, under: "WrappingKey") -> bytes:
        from dojang.pkcs11 import wrapping

        return wrapping.wrap_value(self._token, value, under=under.key_id)

    @property
    def holds_r(self) -> bool:
        from dojang.pkcs11.data_objects import can_hold

        return can_hold(self._token)

    def random_number(self, key_id: bytes) -> Secret | None:
        """As ``HoldsR``; found by CKA_ID first, then by the label that is set. ``Ambiguous`` where several may be."""
        from dojang.locations import token_r

        return token_r.read(self._token, key_id, self._r_object)

    def private_key(self, key_id: bytes) -> "PrivateKey":
        return self._token.private_key(key_id=key_id)

    def has_key(self, key_id: bytes) -> bool:
        return any(True for _ in self._token.keys(key_id=key_id))

    def install(
        self,
        *,
        key_id: bytes,
        label: str,
        certificate_der: bytes,
        chain_der: Sequence[bytes] = (),
        replaces: bytes | None = None,
    ) -> StoredCredential:
        just_made = key_id in self._made
        self._made.discard(key_id)
        here = [] if just_made else self._certificates(key_id=key_id)
        done = next((one for one in here if one.value == certificate_der), None)
        if done is None:
            if not just_made and not self.has_key(key_id):
                raise self._missing(Phrase("The private key"))
            if replaces is None:
                if not just_made:
                    self._refuse_taken(label, key_id)
                self._refuse_second(here)
            # Issuers first: while the signer's certificate is missing, nothing looks complete.
            for issuer_der in chain_der:
                name, subject_key_id = authority_facts(issuer_der)
                self._token.add_certificate(issuer_der, label=name, key_id=subject_key_id)
            done = self._token.add_certificate(certificate_der, label=shown(label, replaces), key_id=key_id)
        return self._credential(done, named=True)

    def switch(self, *, old_key_id: bytes, new_key_id: bytes, certificate_der: bytes | None = None) -> StoredCredential:
        if old_key_id == new_key_id:
            return self._switch_certificate(new_key_id, certificate_der)
        from dojang.locations import token_r

        self._token.log_in()
        old, new = self._belonging(old_key_id), self._belonging(new_key_id)
        certificate = next((one for one in new if one.type == "cert" and one.value), None)
        if certificate is None:
            raise self._missing(new_key_id.hex())
        name = name_handed_over([*old, certificate])
        retired = retired_label(name, old)
        self._rename(new_key_id, [one for one in new if one.label != name], name)
        token_r.bring_into_use(self._token, self._r_object, new_key_id)
        token_r.retire(self._token, self._r_object, old_key_id, retired.removeprefix(name))
        self._rename(old_key_id, [one for one in old if not Label.from_text(one.label).retired], retired)
        return self._stored(new_key_id, certificate.value)

    def retire(self, key_id: bytes) -> StoredCredential:
        from dojang.locations import token_r

        _refuse_no_id(key_id)
        self._token.log_in()
        here = self._belonging(key_id)
        certificates = [one for one in here if one.type == "cert" and one.value]
        if not certificates:
            raise self._missing(key_id.hex())
        name = name_handed_over(certificates)
        label = retired_label(name, here)
        token_r.retire(self._token, self._r_object, key_id, label.removeprefix(name))
        self._rename(key_id, [one for one in here if not Label.from_text(one.label).retired], label)
        return self._stored(key_id, certificates[0].value)

    def discard(self, key_id: bytes) -> None:
        _refuse_no_id(key_id)
        here = list(self._token.certificates(key_id=key_id))  # one that cannot be read now may be the live one
        staged = [one for one in here if not one.problem and Label.from_text(one.label).staged]
        if len(staged) == len(here):
            self._token.destroy(key_id)
        for one in staged:
            self._token.destroy_certificate(key_id, one.value)

    def delete(self, key_id: bytes) -> None:
        _refuse_no_id(key_id)
        for kind in _KINDS:
            self._token.destroy(key_id, kind)

    def _belonging(self, key_id: bytes) -> "list[TokenObject]":
        """What is a credential's under its CKA_ID: a wrapping key that another program numbered alike is not."""
        return [one for one in self._token.objects(key_id=key_id) if one.type in _KINDS]

    def _switch_certificate(self, key_id: bytes, certificate_der: bytes | None) -> StoredCredential:
        """The key is kept: one certificate takes the other's name under the same CKA_ID."""
        here = self._certificates(key_id=key_id)
        staged = [one for one in here if Label.from_text(one.label).staged]
        if mine := [one for one in staged if one.value == certificate_der]:
            for other in staged:  # of somebody whose claim was broken and who never came back
                if other not in mine:
                    self._token.destroy_certificate(key_id, other.value)
            staged = mine
        live = [one for one in here if Label.from_text(one.label).live]
        # Both live: a switch was cut short after its first step; where nobody says which is new, the younger is.
        new = staged or [one for one in live if one.value == certificate_der] or _youngest(live)
        if not new:
            raise self._missing(key_id.hex())
        name = name_handed_over([*live, *new])
        self._rename(key_id, staged, name)
        self._rename(key_id, [one for one in live if one not in new], retired_label(name, here))
        return self._stored(key_id, new[0].value)

    def _rename(self, key_id: bytes, found: "Sequence[TokenObject]", label: str) -> None:
        for one in found:
            if one.type == "cert" and one.value:
                self._token.relabel_certificate(key_id, one.value, label)
        for kind in sorted({one.type for one in found} - {"cert", "data"}):  # data has names of its own
            self._token.relabel(key_id, label, kind)

    def _matching(self, wanted: Pkcs11Uri) -> "list[TokenObject]":
        """What an address names: by id the live one before staged and retired ones, by label live ones only."""
        if wanted.id is not None:
            found = self._certificates(key_id=wanted.id)
            if wanted.object is not None:
                exact = [one for one in found if one.label == wanted.object]
                found = exact or [one for one in found if Label.from_text(one.label).name == wanted.object]
            return _nearest_state(found)
        found = [one for one in self._certificates(label=wanted.object) if Label.from_text(one.label).live]
        if len(found) > 1 or wanted.object is None:
            found = [one for one in found if not is_authority(one.value)]
        return [one for same in _by_key(found) for one in _youngest(same)]

    def _certificates(self, *, label: str | None = None, key_id: bytes | None = None) -> "list[TokenObject]":
        return [one for one in self._token.certificates(label=label, key_id=key_id) if not one.problem]

    def _refuse_taken(self, label: str, key_id: bytes) -> None:
        """A label in use by any certificate or private key but those under ``key_id``; one search for both."""
        for one in self._token.private_objects(label=label):
            if one.type in ("cert", "private") and one.key_id != key_id and not one.problem:
                raise AlreadyExists(what=f"'{label}'", where=self.address)

    def _refuse_second_key(self, label: str | None, key_id: bytes) -> None:
        """A key from elsewhere gets a label, unless it is staged, and a CKA_ID of its own."""
        if label is not None:
            self._refuse_taken(label, key_id)
        if self.has_key(key_id):
            raise AlreadyExists(what=Phrase("A key with the id {key_id}", key_id=key_id.hex()), where=self.address)

    def _refuse_second(self, here: "Sequence[TokenObject]") -> None:
        for one in here:
            if Label.from_text(one.label).live:
                raise AlreadyExists(what=Phrase("A certificate for '{label}'", label=one.label), where=self.address)

    def _stored(self, key_id: bytes, certificate_der: bytes) -> StoredCredential:
        for one in self._certificates(key_id=key_id):
            if one.value == certificate_der:
                return self._credential(one, named=True)
        raise self._missing(key_id.hex())

    def _missing(self, what: str) -> NotFound:
        return NotFound(what=what, where=self.address, command=f'dojang cert list "{self.address}"')

    def _credential(self, one: "TokenObject", *, named: bool) -> StoredCredential:
        """``named``: its label alone finds it, so that its address outlives renewals."""
        label = Label.from_text(one.label)
        key_id = None if named and label.live and one.name else one.key_id
        return StoredCredential(
            address=self._uri.for_object(object=one.name, id=key_id).to_text(),
            kind=KIND,
            label=one.label,
            key_id=one.key_id,
            certificate_der=one.value,
            staged=label.staged,
            retired=label.retired,
        )


def _nearest_state(found: "list[TokenObject]") -> "list[TokenObject]":
    labelled = [(one, Label.from_text(one.label)) for one in found]
    live = [one for one, label in labelled if label.live]
    staged = [one for one, label in labelled if label.staged]
    return _youngest(live) or staged or found


def _by_key(found: "list[TokenObject]") -> "list[list[TokenObject]]":
    keys = dict.fromkeys(one.key_id for one in found)
    return [[one for one in found if one.key_id == key_id] for key_id in keys]


def _youngest(found: "list[TokenObject]") -> "list[TokenObject]":
    """Of live certificates for one key, the one that a renewal put there last."""
    return sorted(found, key=lambda one: not_before(one.value))[-1:] if len(found) > 1 else found


def _refuse_no_id(key_id: bytes) -> None:
    """An empty CKA_ID is every object's that another program left without one."""
    if not key_id:
        raise NotPermitted(
            problem=Phrase("the certificate has no CKA_ID, so what belongs to it is not known"),
            remedy=Phrase("Remove it with the program that put it there."),
        )


@contextmanager
def open_at(address: "Address", access: Access) -> Iterator[TokenLocation]:
    """The one token that an address names."""
    from dojang.agent.opening import open_token

    assert isinstance(address, Pkcs11Uri)
    opened = open_token(
        address,
        access.pins,
        search=access.search,
        guard=access.guard,
        last_try=access.last_try,
        agent=access.agent,
    )
    with opened as token:
        if token.is_only_read:
            from dojang.locations.card import CardLocation

            yield CardLocation(token, address, access.r_object, access.so_pins)
        else:
            yield TokenLocation(token, address, access.r_object)
