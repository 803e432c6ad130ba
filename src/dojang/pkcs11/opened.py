"""An open token: find, make, read, use and destroy what is on it, with one login for the whole process."""

import os
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11 import generation, objects
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.discovery import ModuleSearch
from dojang.pkcs11.generation import Attributes
from dojang.pkcs11.guard import PinGuard
from dojang.pkcs11.listing import find_token
from dojang.pkcs11.login import Login
from dojang.pkcs11.mechanisms import MechanismTable
from dojang.pkcs11.objects import PRIVATE_KEY_KINDS, TokenObject, search_for
from dojang.pkcs11.pin import PinProvider
from dojang.pkcs11.pool import LogIn, SessionPool
from dojang.pkcs11.quirks import max_sessions, quirk_of
from dojang.pkcs11.same_key import half_of, narrowed
from dojang.pkcs11.session import Search, Session
from dojang.pkcs11.signer import TokenSigner
from dojang.pkcs11.structures import Mechanism, utf8
from dojang.pkcs11.token import Token
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.places import pin_guard_path
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.importing import SoftwareKey
    from dojang.pkcs11.keys import TokenPrivateKey as PrivateKey

T = TypeVar("T")

Elsewhere = Callable[[Pkcs11Uri, str], TokenSigner | None]
"""Given the URI of a private key and the path of its module, gives what signs in our place, or nothing."""

NEW_KEY_ID_BYTES = 20
_READ_AT_ONCE = 32


class _Shared:
    """What everybody who opened one token shares: sessions, mechanism table and the PIN that opened it."""

    def __init__(self, token: Token) -> None:
        self.quirk = quirk_of(token.module)
        limit = max_sessions(self.quirk, token.info.max_sessions)
        self.pool = SessionPool(
            token.module, token.info.identity, token.slot_id, limit=limit, generation=token.generation
        )
        self.table = MechanismTable(token.mechanisms().listed, self.quirk.cannot)
        self.openers = 0


_shared: dict[tuple[int, object], _Shared] = {}
_shared_lock = threading.Lock()


def _renew_lock() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


class OpenToken:
    """A token with its sessions; thread-safe; a context manager.

    Nothing is logged in until an operation needs it; then the PIN is asked for once and guarded (see ``PinGuard``).
    Objects are named by ``label`` and ``key_id`` (CKA_ID), never by handle.
    """

    def __init__(
        self,
        token: Token,
        pin: "PinProvider | Secret | None",
        guard: PinGuard,
        *,
        last_try: bool = False,
        elsewhere: "Elsewhere | None" = None,
    ) -> None:
        """``pin`` is a secret, or something that is asked for one when it is needed; ``None`` allows public objects.

        ``elsewhere`` knows keys of this token that somebody else is logged in for; they sign there.
        """
        self.token = token
        self._elsewhere = elsewhere
        key = (id(token.module), token.key)
        with _shared_lock:
            shared = self._shared = _shared.get(key) or _shared.setdefault(key, _Shared(token))
            shared.openers += 1
            shared.pool.open()
        self._pool = shared.pool
        self._login = Login(
            token,
            pin,
            guard,
            last_try=last_try,
            slot_id=lambda: shared.pool.slot_id,
            is_open=lambda: shared.openers > 0,
        )
        self.is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the token back. When the last opener in this process does, the sessions close and the login ends."""
        with _shared_lock:
            if not self.is_open:
                return
            self.is_open = False
            self._shared.openers -= 1
            if self._shared.openers == 0:
                self._login.forget()
                self._pool.close()
        self._pool.end()  # without the lock: whoever is in the module may be opening another token

    @property
    def address(self) -> str:
        return self.token.address

    @property
    def is_only_read(self) -> bool:
        """Whether its module reads it and no more: a PIV card, whose keys and certificates others put there."""
        return self.token.info.manufacturer == (self._shared.quirk.only_reads or None)

    @property
    def key_making_program(self) -> str:
        """What makes keys on it where its module does not; empty where it does, or nobody knows."""
        return self._shared.quirk.generates

    @property
    def mechanisms(self) -> MechanismTable:
        """What the token can do, as far as is known."""
        return self._shared.table

    # Login

    def log_in(self) -> None:
        """Log in now rather than when it is first needed."""
        self.logged_in(lambda _: None)

    @property
    def _label(self) -> str:
        return self.token.info.label

    def logged_in(self, work: Callable[[Session], T]) -> T:
        """Do ``work`` on a session of this package after the login; what may be repeated is in ``retry``."""
        return self._run(work, self._login.log_in)

    def _run(self, work: Callable[[Session], T], log_in: LogIn | None = None) -> T:
        if not self.is_open:
            raise errors.TokenClosed(token=self._label)
        return self._pool.run(work, log_in)

    def publicly(self, work: Callable[[Session], T]) -> T:
        """Do ``work`` without asking for a login; private objects are out of sight unless there is one already."""
        return self._run(work)

    def surely(self, work: Callable[[Session], T]) -> T:
        """Like ``logged_in``, for work to which an object out of sight would mean that there is none."""

        def checked(session: Session) -> T:
            logins = self._pool.logins
            result = work(session)
            if self._pool.may_have_missed(logins, session):
                raise CryptokiError("C_FindObjects", ck.CKR_USER_NOT_LOGGED_IN)
            return result

        return self.logged_in(checked)

    # Finding

    def objects(
        self, object_type: str | None = None, *, label: str | None = None, key_id: bytes | None = None
    ) -> Iterator[TokenObject]:
        """Every object that matches, one at a time; private ones only after a login, which this does not do.

        ``object_type`` is ``cert``, ``public``, ``private``, ``secret-key`` or ``data``. An object that cannot be read
        comes with its ``problem`` and hides no other.
        """
        yield from self._objects(object_type, label, key_id, log_in=False)

    def certificates(self, *, label: str | None = None, key_id: bytes | None = None) -> Iterator[TokenObject]:
        """The certificates (``value`` is DER), without a login and without touching keys."""
        return self._objects("cert", label, key_id, log_in=False)

    def keys(self, *, label: str | None = None, key_id: bytes | None = None) -> Iterator[TokenObject]:
        """The private keys with their attributes; logs in."""
        return self._objects("private", label, key_id, log_in=True)

    def private_objects(self, *, label: str | None = None, key_id: bytes | None = None) -> Iterator[TokenObject]:
        """Every object that matches, private ones too; logs in."""
        return self._objects(None, label, key_id, log_in=True)

    def _objects(
        self, object_type: str | None, label: str | None, key_id: bytes | None, *, log_in: bool
    ) -> Iterator[TokenObject]:
        object_class = None if object_type is None else objects.CLASSES[object_type]
        search = search_for(object_class, label=label, key_id=key_id)

        def find(session: Session) -> tuple[int, list[int]]:
            return session.generation, session.cryptoki.find_objects(session.handle, search)

        generation, handles = self.surely(find) if log_in else self._run(find)
        for start in range(0, len(handles), _READ_AT_ONCE):
            some = handles[start : start + _READ_AT_ONCE]
            yield from self._read_some(generation, some, object_class, log_in=log_in)

    def _read_some(
        self, generation: int, handles: list[int], object_class: int | None, *, log_in: bool
    ) -> list[TokenObject]:
        """A session is held only meanwhile, so whoever walks through objects can use the token at the same time."""

        def read(session: Session) -> list[TokenObject]:
            if session.generation != generation:  # these handles may be other objects' by now
                raise errors.ObjectVanished(what="The object", token=self._label)
            return [objects.read_object(session, handle, object_class) for handle in handles]

        return self._run(read, self._login.log_in if log_in else None)

    def object_address(self, found: TokenObject) -> str:
        """A PKCS#11 URI that names this object on this token."""
        kind = found.type if found.type in objects.CLASSES else None
        uri = Pkcs11Uri.from_text(self.address)
        return uri.for_object(object=found.name, id=found.key_id or None, type=kind).to_text()

    # Keys

    def signer(self, *, label: str | None = None, key_id: bytes | None = None) -> TokenSigner:
        """The one private key that matches, as something that signs digests; ``NotFound``, ``Ambiguous``.

        A label may be that of its certificate: on cards the two have names of their own.
        """
        if self._elsewhere is not None:
            named = Pkcs11Uri(
                token=self._label, serial=self.token.info.serial or None, object=label, id=key_id, type="private"
            )
            found = self._elsewhere(named, self.token.module.path)
            if found is not None:
                return found
        search = search_for(ck.CKO_PRIVATE_KEY, label=label, key_id=key_id)

        def read(session: Session) -> tuple[dict[int, bytes], dict[int, bytes]]:
            session.handles.pop(search, None)  # look afresh: a second match since the last look must be noticed
            handle = session.resolve(search)
            values = session.read(handle, PRIVATE_KEY_KINDS)
            public = self._public_beside(session, values)
            session.handles[narrowed(search, half_of(values | public))] = handle
            return values, public

        try:
            return self._signer(search, *self.logged_in(read))
        except errors.NotFound:
            certified = {one.key_id for one in self.certificates(label=label, key_id=key_id)} if label else set()
            if len(certified) != 1 or b"" in certified:
                raise
            return self.signer(key_id=certified.pop())

    def _public_beside(self, session: Session, values: dict[int, bytes]) -> dict[int, bytes]:
        """The attributes of the public key object where the private key does not show them itself."""
        key_id = values.get(ck.CKA_ID)
        if half_of(values) is not None or not key_id:
            return {}
        return objects.read_public(session, key_id, values.get(ck.CKA_LABEL, b""))

    def _signer(self, search: Search, values: dict[int, bytes], public: dict[int, bytes]) -> TokenSigner:
        always = values.get(ck.CKA_ALWAYS_AUTHENTICATE, b"\0") != b"\0"
        exact = narrowed(search, half_of(values | public))
        self._pool.expect(exact)
        return TokenSigner(
            self._pool,
            exact,
            values,
            self._shared.table,
            self._login.log_in,
            self._login.authenticate if always else None,
            self,
            public,
        )

    def private_key(self, *, label: str | None = None, key_id: bytes | None = None) -> "PrivateKey":
        """The one private key that matches, as a ``cryptography`` private key that signs on the token."""
        from dojang.pkcs11.keys import private_key

        return private_key(self, self.signer(label=label, key_id=key_id))

    def signing(self, mechanism: Mechanism, search: Search) -> Callable[[bytes], bytes]:
        """What puts one message after another under the secret key that ``search`` finds: one C_SignInit and one C_Sign
        each; logs in. Made once, because what Python does here is paid with every message.
        """
        sign, log_in = self._pool.sign, self._login.log_in

        def signed(message: bytes) -> bytes:
            if not self.is_open:
                raise errors.TokenClosed(token=self._label)
            return sign(mechanism, search, message, log_in)

        return signed

    def decrypt_oaep(self, search: Search, ciphertext: bytes, hash_name: str, mgf_hash: str, label: bytes) -> bytes:
        """RSAES-OAEP decryption on the token (RFC 8017, 7.1.2)."""
        from dojang.pkcs11.oaep import oaep_mechanism

        mechanism = oaep_mechanism(hash_name, mgf_hash, label)
        return self.logged_in(
            lambda session: session.cryptoki.decrypt(session.handle, mechanism, session.resolve(search), ciphertext)
        )

    def generate_key_pair(
        self,
        algorithm: str,
        *,
        label: str,
        key_id: bytes | None = None,
        use: generation.KeyUse = generation.SIGN_ONLY,
    ) -> "PrivateKey":
        """Make a key pair that never leaves the token and hand out its private key.

        ``algorithm`` is one of ``KEY_ALGORITHMS``. The key is sensitive, not extractable, private and signs only unless
        ``use`` says otherwise; what the token made is read back, and removed with ``DeviceDisobeyed`` if it differs.
        ``AlreadyExists`` when there is a private key under ``key_id``.
        """
        from dojang.pkcs11.keys import private_key

        chosen = key_id if key_id is not None else os.urandom(NEW_KEY_ID_BYTES)
        quirk = self._shared.quirk
        if algorithm in quirk.useless:
            where = errors.Phrase("Token {token}", token=self._label)
            raise errors.UnsupportedMechanism(where=where, mechanism=f"keys of kind {algorithm}")
        if quirk.rsa_decrypts and use.sign and algorithm.startswith("rsa-"):
            use = use._replace(decrypt=True)
        try:
            pair = self.logged_in(
                lambda session: generation.generate(
                    session, algorithm, label=label, key_id=chosen, use=use, unsaid=quirk.unsaid
                )
            )
        except errors.UnsupportedMechanism as error:
            if not quirk.generates:
                raise
            raise errors.UnsupportedOperation(
                where=errors.Phrase("Token {token}", token=self._label),
                operation=errors.Phrase("make this key through its module"),
                next_step="Make it with the module's own program: {program}",
                program=quirk.generates,
            ) from error
        signer = self._signer(search_for(ck.CKO_PRIVATE_KEY, key_id=chosen), pair.private, pair.public)
        try:
            return private_key(self, signer, pair.public)
        except errors.DeviceDisobeyed:
            self.destroy(chosen)  # nobody can use a key whose public half is unknown
            raise

    def import_private_key(self, key: "SoftwareKey", *, label: str, key_id: bytes | None = None) -> "PrivateKey":
        """Store a key pair made elsewhere; from then on it is sensitive, not extractable and signs only, like our own.

        Read back like a generated one, and proved by a signature: a token that stores it any other way
        (``DeviceDisobeyed``), or that cannot sign with what it stores (``UnsupportedMechanism``), gets it removed.
        """
        from dojang.pkcs11.importing import import_key_pair, signs_like

        chosen = key_id if key_id is not None else os.urandom(NEW_KEY_ID_BYTES)
        import_key_pair(self, key, label=label, key_id=chosen)
        try:
            imported = self.private_key(key_id=chosen)
            wrong = generation.disobedience(imported.signer.attributes, imported.signer.algorithm, generation.SIGN_ONLY)
            if not wrong and not signs_like(imported, key):
                wrong = ["its signatures are not those of the key"]
            if wrong:
                raise errors.DeviceDisobeyed(token=self._label, problem=", ".join(wrong))
        except (errors.DeviceDisobeyed, errors.UnsupportedMechanism):
            self.destroy(chosen)
            raise
        return imported

    def public_key_attributes(self, key_id: bytes) -> dict[int, bytes]:
        """The attributes of the public key under a CKA_ID; empty when the token keeps none, or several."""
        return self.surely(lambda session: objects.read_public(session, key_id))

    # Certificates and data

    def add_certificate(self, certificate_der: bytes, *, label: str, key_id: bytes) -> TokenObject:
        """Store a certificate; storing the same again under the same CKA_ID changes nothing."""
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        try:
            certificate = x509.load_der_x509_certificate(certificate_der)
        except ValueError as error:
            problem = errors.Phrase("it is not a certificate in DER")
            raise errors.UnsupportedFormat(what=errors.Phrase("The certificate"), problem=problem) from error
        attributes: Attributes = [
            (ck.CKA_CLASS, ck.CKO_CERTIFICATE),
            (ck.CKA_TOKEN, True),
            (ck.CKA_PRIVATE, False),
            (ck.CKA_CERTIFICATE_TYPE, ck.CKC_X_509),
            (ck.CKA_LABEL, utf8(label)),
            (ck.CKA_ID, key_id),
            (ck.CKA_SUBJECT, certificate.subject.public_bytes()),
            (ck.CKA_ISSUER, certificate.issuer.public_bytes()),
            (ck.CKA_SERIAL_NUMBER, _der_integer(certificate.serial_number)),
            (ck.CKA_VALUE, certificate.public_bytes(Encoding.DER)),
        ]
        same = ((ck.CKA_CLASS, ck.CKO_CERTIFICATE), (ck.CKA_ID, key_id), (ck.CKA_VALUE, certificate_der))

        def store(session: Session) -> TokenObject:
            there = session.cryptoki.find_objects(session.handle, same, limit=1)
            if there:
                return objects.read_object(session, there[0], ck.CKO_CERTIFICATE)
            session.cryptoki.create_object(session.handle, attributes)
            return TokenObject(type="cert", label=label, key_id=key_id, value=certificate_der)

        stored = self.logged_in(store)
        objects.refuse_vanished(self, same)
        return stored

    def add_data(self, value: bytes, *, label: str, application: str, key_id: bytes, private: bool = True) -> None:
        """Store a data object, tied to a key by CKA_ID; where that is refused, by CKA_OBJECT_ID or by CKA_APPLICATION.

        The standard (2.40, 4.5) gives data objects no CKA_ID, but Korean tokens use one; see ``data_objects``.
        """
        from dojang.pkcs11.data_objects import searches, store

        attributes: Attributes = [
            (ck.CKA_PRIVATE, private),
            (ck.CKA_LABEL, utf8(label)),
            (ck.CKA_APPLICATION, utf8(application)),
            (ck.CKA_VALUE, value),
        ]
        self.logged_in(lambda session: store(session, attributes, key_id))
        objects.refuse_vanished(self, *searches(key_id))

    def read_data(self, *, key_id: bytes | None = None, label: str | None = None) -> list[bytes]:
        """The values of the data objects tied to ``key_id``, or of that label."""
        from dojang.pkcs11.data_objects import searches

        def read(session: Session) -> list[bytes]:
            found: list[bytes] = []
            for search in searches(key_id, label):
                for handle in session.cryptoki.find_objects(session.handle, search):
                    found.append(session.read(handle, (ck.CKA_VALUE,)).get(ck.CKA_VALUE, b""))
            return found

        return self.surely(read)

    # Changing and destroying

    def relabel(self, key_id: bytes, label: str, object_type: str | None = None) -> int:
        """Give everything under a CKA_ID (or one type of it) a new label; the number of objects changed."""
        object_class = None if object_type is None else objects.CLASSES[object_type]
        new: Attributes = [(ck.CKA_LABEL, utf8(label))]

        def change(session: Session) -> int:
            cryptoki = session.cryptoki
            handles = cryptoki.find_objects(session.handle, search_for(object_class, key_id=key_id))
            for handle in handles:
                cryptoki.set_attributes(session.handle, handle, new)
            session.handles.clear()
            return len(handles)

        return self.surely(change)

    def copy_object(self, object_type: str, *, key_id: bytes, new_label: str, new_key_id: bytes | None = None) -> None:
        """A second object like the first on the same token (C_CopyObject), under another label and CKA_ID."""
        search = search_for(objects.CLASSES[object_type], key_id=key_id)
        changes: Attributes = [(ck.CKA_LABEL, utf8(new_label))]
        if new_key_id is not None:
            changes.append((ck.CKA_ID, new_key_id))

        def copy(session: Session) -> None:
            session.cryptoki.copy_object(session.handle, session.resolve(search), changes)
            session.handles.clear()

        self.logged_in(copy)

    def destroy(self, key_id: bytes, object_type: str | None = None) -> int:
        """Remove everything under a CKA_ID (or one type of it), the private key last; the number of objects removed."""
        order = ("cert", "data", "secret-key", "public", "private") if object_type is None else (object_type,)
        searches = [search_for(objects.CLASSES[name], key_id=key_id) for name in order if name != "data"]
        if "data" in order:
            from dojang.pkcs11 import data_objects

            searches = [*data_objects.searches(key_id), *searches]

        return self.surely(lambda session: objects.destroy_all(session, searches))

    def relabel_certificate(self, key_id: bytes, certificate_der: bytes, label: str) -> None:
        """Give one certificate among several under the same CKA_ID a new label."""
        search = ((ck.CKA_CLASS, ck.CKO_CERTIFICATE), (ck.CKA_ID, key_id), (ck.CKA_VALUE, certificate_der))
        new: Attributes = [(ck.CKA_LABEL, utf8(label))]

        def change(session: Session) -> None:
            for handle in session.cryptoki.find_objects(session.handle, search):
                session.cryptoki.set_attributes(session.handle, handle, new)
            session.handles.clear()

        self.surely(change)

    def destroy_certificate(self, key_id: bytes, certificate_der: bytes) -> int:
        """Remove one certificate among several under the same CKA_ID."""
        search = ((ck.CKA_CLASS, ck.CKO_CERTIFICATE), (ck.CKA_ID, key_id), (ck.CKA_VALUE, certificate_der))
        return self.surely(lambda session: objects.destroy_all(session, [search]))


def _der_integer(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02" + bytes([len(raw)]) + raw


def open_token(
    uri: str | Pkcs11Uri,
    pin: "PinProvider | Secret | None" = None,
    *,
    search: ModuleSearch | None = None,
    guard: PinGuard | None = None,
    last_try: bool = False,
    elsewhere: Elsewhere | None = None,
) -> OpenToken:
    """Open the one token that a PKCS#11 URI names.

    The PIN comes from the URI's ``pin-source`` or ``pin-value`` where it has one, otherwise from ``pin``: a ``Secret``
    or a function that is asked when it is needed. Raises ``TokenNotFound``, ``AmbiguousToken``, ``ModuleUnloadable``.
    """
    wanted = Pkcs11Uri.from_text(uri) if isinstance(uri, str) else uri
    chosen: PinProvider | Secret | None = pin
    if wanted.pin_value is not None:
        chosen = wanted.pin_value
    elif wanted.pin_source is not None:
        from dojang.pkcs11.pin import PinSource

        chosen = PinSource.from_uri(wanted.pin_source)
    token = find_token(wanted, search)
    return OpenToken(token, chosen, guard or PinGuard(pin_guard_path()), last_try=last_try, elsewhere=elsewhere)
