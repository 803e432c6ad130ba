"""Every error dojang raises on purpose.

    DojangError
    ├── UserError            the person at the keyboard can fix it
    │   ├── Usage · InvalidUri · InvalidAddress · InvalidName · InvalidSource · SecretUnavailable · InputRequired
    │   ├── NotFound · Ambiguous · AlreadyExists · SerialMismatch · Interrupted · NothingDue · NothingToDo
    │   ├── CredentialBusy · OperationUnfinished · BatchIncomplete · AgentNotRunning
    │   ├── PinIncorrect · PinKnownWrong · PinUnusable · KeyMismatch
    │   ├── PasswordIncorrect · PasswordWithheld
    │   ├── WrappingKeyMismatch · SharesUnusable
    │   └── FileUnreadable · FileUnwritable · FileMalformed · FileChanged
    ├── DeviceError          the token, its driver or its daemon
    │   ├── TokenNotFound · AmbiguousToken · TokenRemoved · TokenNotInitialized · TokenWriteProtected · TokenFull
    │   ├── DiskNotFound · DiskRemoved
    │   ├── PinLocked · PinLastTry · PinNotSet · LoginRequired
    │   ├── ModuleUnloadable · DeviceBusy · DeviceFailure · DeviceDisobeyed · DeviceRefused · ObjectVanished
    │   └── DaemonSilent · KeyReplaced · TokenClosed · SignatureUncertain · TimedOut · LocationSilent · AgentUnavailable
    ├── AuthorityError       the certificate authority or the peer
    │   └── AuthorityRefused · AuthorityUnreachable · AuthorityExpired · AnswerMismatch
    ├── ConfigurationError   a setting or the state folder
    │   └── InvalidSetting · StateUnreadable · NoModule · HookFailed · NoticeUndelivered
    ├── PolicyError          refused by rule, whoever asks
    │   ├── NotPermitted · PasswordUnfit · KeyDoesNotLeave · NotRenewable · CertificateUnusable · AgentRefused
    │   └── RegistrationRefused · CertificateRevoked · CertificateSuspended · StatusUnknown · PurposeRefused
    ├── UnsupportedError     nobody can, here
    │   └── UnsupportedMechanism · UnsupportedFormat · UnsupportedOperation
    ├── VerificationFailed   the signature or the path is not good
    └── Bug                  a mistake in dojang itself

A leaf declares its ``code`` (stable, for scripts), its ``exit_status`` (the table in the README), one ``sentence``
saying what happened and one ``next_step`` saying what to do. Both are templates in English; ``{names}`` are facts given
to the constructor, kept in ``facts`` and never secret. The room that shows the error translates the template, then
fills it in. A leaf that is ``retryable`` says that the same may succeed later without anybody changing what was asked:
a service waits a moment and tries again.
"""

from string import Formatter
from typing import Self


def _placeholders(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name)


def _token_address(label: str) -> str:
    """The label as an address to paste (RFC 7512): everything but letters, digits and ``-._~`` as %XX."""
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return "pkcs11:token=" + "".join(
        chr(one) if one in plain else f"%{one:02X}" for one in label.encode(errors="replace")
    )


class Phrase(str):
    """Words for a fact that has facts of its own: reads as English, and can still be translated with them."""

    template: str
    facts: dict[str, object]

    def __new__(cls, template: str, **facts: object) -> Self:
        phrase = super().__new__(cls, template.format_map(facts))
        phrase.template, phrase.facts = template, facts
        return phrase


class DojangError(Exception):
    """Root of the tree. Subclasses that have a ``code`` are leaves and may be raised."""

    code: str = ""
    exit_status: int = 1
    so_next_step: str = ""
    retryable: bool = False
    sentence: str = ""
    next_step: str = ""

    def __init__(self, *, next_step: str | None = None, **facts: object) -> None:
        """Keep the facts; ``next_step`` replaces the leaf's own advice where the situation allows better advice, as
        ``so_next_step`` does where the fact ``role`` says that it is about the SO PIN.

        The fact ``token``, a label, brings the fact ``token_address``, for advice that can be pasted.
        """
        if "token" in facts:
            facts.setdefault("token_address", _token_address(str(facts["token"])))
        if facts.get("role") == "so":
            next_step = next_step or self.so_next_step or None
        if next_step is not None:
            self.next_step = next_step
        missing = (_placeholders(self.sentence) | _placeholders(self.next_step)) - facts.keys()
        if missing:
            raise TypeError(f"{type(self).__name__} needs the facts {', '.join(sorted(missing))}")
        self.facts = facts
        super().__init__(self.sentence.format_map(facts))

    def message(self, translated: str | None = None) -> str:
        """What happened, in English or after the translated template."""
        return (translated or self.sentence).format_map(self.facts)

    def advice(self, translated: str | None = None) -> str:
        """What to do next, in English or after the translated template."""
        return (translated or self.next_step).format_map(self.facts)


class UserError(DojangError):
    """Family: the person at the keyboard can fix it."""


class Usage(UserError):
    code = "usage"
    exit_status = 2
    sentence = "{problem}"
    next_step = "Run the command with --help to see what it takes."


class InvalidUri(UserError):
    code = "invalid-uri"
    exit_status = 2
    sentence = "This is not a PKCS#11 URI: {problem}."
    next_step = "Write it as pkcs11:token=LABEL;object=NAME (RFC 7512); 'dojang token list' prints addresses to paste."


class InvalidAddress(UserError):
    code = "invalid-address"
    exit_status = 2
    sentence = "'{address}' is not an address dojang knows: {problem}."
    next_step = (
        "Use pkcs11:token=LABEL, npki:/folder, removable:NAME, pkcs12:/file.p12 or pem:/file.pem; "
        "'dojang where' prints addresses to paste."
    )


class InvalidName(UserError):
    code = "invalid-name"
    exit_status = 2
    sentence = "'{name}' is not a distinguished name: {problem}."
    next_step = "Write it as 'CN=Hong Gildong,O=Example,C=KR' (RFC 4514)."


class InvalidSource(UserError):
    code = "invalid-source"
    exit_status = 2
    sentence = "'{source}' is not a place to read a PIN or password from: {problem}."
    next_step = "Use prompt, env:NAME, file:PATH, fd:N, cmd:COMMAND, pinpad or keyring:NAME."


class SecretUnavailable(UserError):
    code = "secret-unavailable"
    exit_status = 2
    sentence = "The {purpose} could not be read from {source}: {problem}."
    next_step = "Make that source readable, or name another with --pin-source or --password-source."


class InputRequired(UserError):
    code = "input-required"
    exit_status = 2
    sentence = "{what} is needed and there is nobody to ask."
    next_step = "Give it with {option}, or run without --no-input on a terminal."


class NotFound(UserError):
    code = "not-found"
    exit_status = 3
    sentence = "{what} was not found in {where}."
    next_step = "See what is there: {command}"


class Ambiguous(UserError):
    code = "ambiguous"
    exit_status = 4
    sentence = "{what} matches more than one: {matches}."
    next_step = "Use one of these addresses as it stands."


class AlreadyExists(UserError):
    code = "already-exists"
    exit_status = 9
    sentence = "{what} already exists in {where}."
    next_step = "Choose another name, or remove the old one first."


class SerialMismatch(UserError):
    code = "serial-mismatch"
    exit_status = 9
    sentence = "The serial to confirm is {serial}, not the one given; nothing was changed."
    next_step = "Make sure that this is the one you mean, then give exactly that serial."


class Interrupted(UserError):
    code = "interrupted"
    exit_status = 130
    sentence = "Interrupted; nothing was lost."
    next_step = "Run the same command again; it finishes or undoes what was begun."


class NothingDue(UserError):
    code = "nothing-due"
    exit_status = 14
    sentence = "Nothing is due for renewal."
    next_step = "See 'dojang where' for the days each certificate has left."


class NothingToDo(UserError):
    code = "nothing-to-do"
    exit_status = 14
    sentence = "There is nothing to do: {problem}."
    next_step = "See 'dojang where' for what there is."


class CredentialBusy(UserError):
    code = "credential-busy"
    exit_status = 11
    retryable = True
    sentence = "Another dojang command is at work on {subject} ({verb})."
    next_step = "Wait until it is done, then run the command again if it is still needed."


class OperationUnfinished(UserError):
    code = "operation-unfinished"
    exit_status = 9
    sentence = "An earlier '{verb}' of {subject} was cut short and could not be finished or undone yet."
    next_step = "'dojang doctor' says what it waits for; 'dojang renew run' finishes it once that is there."


class BatchIncomplete(UserError):
    code = "batch-incomplete"
    exit_status = 15
    sentence = "The batch finished; {failed} of {total} files could not be signed."
    next_step = "Mend what is said above of each, then run the same command with --skip-signed."


class AgentNotRunning(UserError):
    code = "agent-not-running"
    exit_status = 3
    sentence = "No agent is running at {path}."
    next_step = "Start one with 'dojang agent start --key ADDRESS'."


class PinIncorrect(UserError):
    code = "pin-incorrect"
    exit_status = 7
    sentence = "The {role} PIN for token {token} is wrong."
    next_step = (
        "Make sure of the PIN before the next try; whether tries are running out: dojang token show '{token_address}'"
    )


class PinKnownWrong(UserError):
    code = "pin-known-wrong"
    exit_status = 7
    sentence = "This PIN was refused by token {token} before, so it was not tried again."
    next_step = (
        "Give a different PIN; no try was spent. If this PIN was set on the token since, remove {memory} and try again."
    )


class PinUnusable(UserError):
    code = "pin-unusable"
    exit_status = 2
    sentence = "Token {token} does not accept such a PIN: {problem}."
    next_step = "Choose a PIN of {min_length} to {max_length} characters."


class PasswordIncorrect(UserError):
    code = "password-incorrect"
    exit_status = 7
    sentence = "The password is wrong or the file is damaged: {path}."
    next_step = "Try the password again, or restore the file from a backup."


class PasswordWithheld(UserError):
    code = "password-withheld"
    exit_status = 8
    sentence = (
        "{path} was given a wrong password {attempts} times, so none is tried any more. The file itself is not locked; "
        "this guards against guessing by accident."
    )
    next_step = "Make sure of the password, then repeat with --last-try; the right one clears the count."


class KeyMismatch(UserError):
    code = "key-mismatch"
    exit_status = 9
    sentence = "The key in {path} belongs to another certificate than the one beside it."
    next_step = "Put back the file that was exchanged, or restore both from a backup; neither is used as it stands."


class WrappingKeyMismatch(UserError):
    code = "wrapping-key-mismatch"
    exit_status = 9
    sentence = "{path} was wrapped under the key {label} ({check}); {given} has the check value {found}."
    next_step = (
        "Name the wrapping key with the check value {check}: 'dojang key list' shows them, 'dojang key custody join' "
        "brings one."
    )


class SharesUnusable(UserError):
    code = "shares-unusable"
    exit_status = 9
    sentence = "The shares do not make a key: {problem}."
    next_step = "{remedy}"


class FileUnreadable(UserError):
    code = "file-unreadable"
    exit_status = 3
    sentence = "{path} cannot be read: {problem}."
    next_step = "Check the name and the permissions."


class FileUnwritable(UserError):
    code = "file-unwritable"
    exit_status = 9
    sentence = "{path} cannot be written: {problem}."
    next_step = "Free some space or choose a folder you may write to; nothing was left behind."


class FileMalformed(UserError):
    code = "file-malformed"
    exit_status = 10
    sentence = "{path} is not {expected}: {problem}."
    next_step = "Check that this is the right file and that it is complete."


class FileChanged(UserError):
    code = "file-changed"
    exit_status = 9
    sentence = "{path} changed while it was being read."
    next_step = "Run the command again when nobody is writing to the file."


class DeviceError(DojangError):
    """Family: the token, its driver or its daemon."""


class TokenNotFound(DeviceError):
    code = "token-not-found"
    exit_status = 6
    retryable = True
    sentence = "No token matches {wanted}."
    next_step = "Plug it in and run 'dojang token list'; 'dojang doctor' says which modules were searched."


class AmbiguousToken(DeviceError):
    code = "ambiguous-token"
    exit_status = 4
    sentence = "More than one token matches {wanted}: {matches}."
    next_step = "Use one of these addresses as it stands."


class TokenRemoved(DeviceError):
    code = "token-removed"
    exit_status = 6
    retryable = True
    sentence = "Token {token} was removed or stopped answering."
    next_step = "Plug it in again and repeat the command."


class DiskNotFound(DeviceError):
    code = "disk-not-found"
    exit_status = 6
    retryable = True
    sentence = "No disk called {name} is plugged in and mounted."
    next_step = "Plug it in and open it once, so that the system mounts it; 'dojang location list' shows what is there."


class DiskRemoved(DeviceError):
    code = "disk-removed"
    exit_status = 6
    retryable = True
    sentence = "The disk {name} was pulled out while it was in use."
    next_step = "Plug it in again and repeat the command; it finishes or undoes what was begun."


class TokenNotInitialized(DeviceError):
    code = "token-not-initialized"
    exit_status = 6
    sentence = "The token in {slot} is not initialised."
    next_step = "Run 'dojang token init --label NAME'."


class TokenWriteProtected(DeviceError):
    code = "token-write-protected"
    exit_status = 9
    sentence = "Token {token} is write-protected."
    next_step = "Remove the protection, or use another token."


class TokenFull(DeviceError):
    code = "token-full"
    exit_status = 9
    sentence = "Token {token} has no room left."
    next_step = (
        "Delete what is no longer needed, or use another token; what is there: dojang cert list '{token_address}'"
    )


class PinLocked(DeviceError):
    code = "pin-locked"
    exit_status = 8
    sentence = "The {role} PIN of token {token} is locked."
    next_step = "Unlock it with the SO PIN: dojang token pin unblock '{token_address}'"
    so_next_step = Phrase("Only the maker's tool can reset it.")
    device_next_step = Phrase(
        "The token's own flags tell of no lock: the whole device refuses every PIN for now. "
        "Wait, or end that with its own tool (for a TPM: tpm2_dictionarylockout --clear-lockout)."
    )


class PinLastTry(DeviceError):
    code = "pin-last-try"
    exit_status = 8
    sentence = "Token {token} has one {role} PIN try left, so it was not spent."
    next_step = (
        "Make sure of the PIN, then repeat with --last-try, "
        "or set a new one with the SO PIN: dojang token pin unblock '{token_address}'"
    )
    so_next_step = Phrase("Make sure of the SO PIN, then repeat with --last-try; nothing can unlock it afterwards.")


class PinNotSet(DeviceError):
    code = "pin-not-set"
    exit_status = 6
    sentence = "Token {token} has no user PIN yet."
    next_step = "Set one with the SO PIN: dojang token pin unblock '{token_address}'"


class LoginRequired(DeviceError):
    code = "login-required"
    exit_status = 9
    sentence = "Token {token} asks for its PIN for this."
    next_step = "Give the PIN with --pin-source, or run on a terminal."


class ModuleUnloadable(DeviceError):
    code = "module-unloadable"
    exit_status = 5
    sentence = "The PKCS#11 module {module} cannot be loaded: {problem}."
    next_step = "{remedy}"


class DeviceBusy(DeviceError):
    code = "device-busy"
    exit_status = 11
    retryable = True
    sentence = "Token {token} is busy or unreachable ({function} said {result})."
    next_step = "Try again in a moment."


class DeviceFailure(DeviceError):
    code = "device-failure"
    exit_status = 11
    retryable = True
    sentence = "Token {token} failed: {function} said {result}."
    next_step = "Unplug and plug it in again, then run 'dojang doctor'."


class DeviceDisobeyed(DeviceError):
    code = "device-disobeyed"
    exit_status = 9
    sentence = "Token {token} did not do as it was told: {problem}. What it made was removed."
    next_step = "Do not keep keys on this token; 'dojang doctor' shows its module and firmware."


class DeviceRefused(DeviceError):
    code = "device-refused"
    exit_status = 9
    sentence = "Token {token} refused: {function} said {result}."
    next_step = "Check with 'dojang key show' what the key or object allows."


class ObjectVanished(DeviceError):
    code = "object-vanished"
    exit_status = 3
    sentence = "{what} is no longer on token {token}."
    next_step = "See what is there: dojang key list '{token_address}'"


class DaemonSilent(DeviceError):
    code = "daemon-silent"
    exit_status = 11
    retryable = True
    sentence = "{daemon} does not answer, and the PKCS#11 module {module} shows no token without it."
    next_step = "{remedy}"


class KeyReplaced(DeviceError):
    code = "key-replaced"
    exit_status = 3
    sentence = "On token {token} another key has taken the place of the one with {what}; it was not used."
    next_step = "See what is there: dojang key list '{token_address}'"


class TokenClosed(DeviceError):
    code = "token-closed"
    exit_status = 2
    sentence = "Token {token} was closed by this program, and its keys with it."
    next_step = "Keep the token open for as long as its keys are in use."


class SignatureUncertain(DeviceError):
    code = "signature-uncertain"
    exit_status = 11
    retryable = True
    sentence = (
        "Token {token} stopped in the middle of a signature ({function} said {result}); "
        "whether it signed is unknown, so it was not asked again."
    )
    next_step = "Check the token, then sign again if a second signature does no harm."


class TimedOut(DeviceError):
    code = "timed-out"
    exit_status = 11
    retryable = True
    sentence = "The command was not done after {seconds} seconds and was ended."
    next_step = "Run it again: it finishes or undoes what was begun. If that takes long again, run 'dojang doctor'."


class LocationSilent(DeviceError):
    code = "location-silent"
    exit_status = 11
    retryable = True
    sentence = "{where} had not answered after {seconds} seconds."
    next_step = "Check its cable, its network or its daemon, or give it longer with --wait."


class AgentUnavailable(DeviceError):
    code = "agent-unavailable"
    exit_status = 11
    retryable = True
    sentence = "The agent cannot go on: {problem}."
    next_step = "Run the command again; where no agent can sign, it asks for the PIN."


class AuthorityError(DojangError):
    """Family: the certificate authority or the peer."""


class AuthorityRefused(AuthorityError):
    code = "authority-refused"
    exit_status = 12
    sentence = "The authority {authority} refused: {problem}."
    next_step = "Correct the request and try again."


class AuthorityUnreachable(AuthorityError):
    code = "authority-unreachable"
    exit_status = 11
    retryable = True
    sentence = "The authority {authority} cannot be reached: {problem}."
    next_step = "Try again later; what was begun is kept."


class AuthorityExpired(AuthorityError):
    code = "authority-expired"
    exit_status = 12
    sentence = "The certificate of authority {authority} is not valid at this time ({not_before} to {not_after})."
    next_step = "Correct the clock, or set up a successor: dojang ca init --alias NAME --key ADDRESS --name DN."


class AnswerMismatch(AuthorityError):
    code = "answer-mismatch"
    exit_status = 12
    sentence = "The certificate that came back does not match what was asked for: {problems}."
    next_step = "Nothing was installed; report this to the authority."


class ConfigurationError(DojangError):
    """Family: a setting or the state folder."""


class InvalidSetting(ConfigurationError):
    code = "invalid-setting"
    exit_status = 2
    sentence = "{path}: {problem}."
    next_step = "Correct the file; the README lists every setting."


class StateUnreadable(ConfigurationError):
    code = "state-unreadable"
    exit_status = 9
    sentence = "dojang's own records in {path} cannot be used: {problem}."
    next_step = "Check permissions and free space; the tokens themselves are untouched."


class NoModule(ConfigurationError):
    code = "no-module"
    exit_status = 5
    sentence = "No PKCS#11 module was found on this machine."
    next_step = "Install one (Debian: apt install softhsm2 or opensc-pkcs11), or name it with --module."


class HookFailed(ConfigurationError):
    code = "hook-failed"
    exit_status = 9
    sentence = "The {which} hook {program} failed: {problem}."
    next_step = "Run it by hand and see what it says; a pre hook that fails stops the renewal, a post hook does not."


class NoticeUndelivered(ConfigurationError):
    code = "notice-undelivered"
    exit_status = 11
    retryable = True
    sentence = "The notice could not be delivered by {channel}: {problem}."
    next_step = "It is tried again; check [notices] in the configuration if it goes on."


class PolicyError(DojangError):
    """Family: refused by rule, whoever asks."""


class NotPermitted(PolicyError):
    code = "not-permitted"
    exit_status = 9
    sentence = "Refused: {problem}."
    next_step = "{remedy}"


class PasswordUnfit(PolicyError):
    code = "password-unfit"
    exit_status = 9
    sentence = "The new password for {purpose} does not meet the rule '{rule}': {problems}."
    next_step = "Choose one that does; the setting password-policy names another rule, or none."


class KeyDoesNotLeave(PolicyError):
    code = "key-does-not-leave"
    exit_status = 9
    sentence = "The private key of {address} never leaves it."
    next_step = (
        "For a second one elsewhere: dojang cert issue --to ADDRESS. To have it there instead, with a new key and this "
        "one revoked: dojang cert reissue --to ADDRESS '{address}'"
    )


class NotRenewable(PolicyError):
    code = "not-renewable"
    exit_status = 9
    sentence = "{address} cannot be renewed: {problem}."
    next_step = "{remedy}"


class CertificateUnusable(PolicyError):
    code = "certificate-unusable"
    exit_status = 9
    sentence = "The certificate {subject} cannot be used: {problem}."
    next_step = "Choose another certificate, or renew this one."


class RegistrationRefused(PolicyError):
    code = "registration-refused"
    exit_status = 13
    sentence = "The certificate {subject} is not accepted: {problems}."
    next_step = "Mend what is named, or choose another certificate; nothing was registered."


class CertificateRevoked(PolicyError):
    code = "certificate-revoked"
    exit_status = 13
    sentence = "The certificate {subject} is not accepted, and never will be again: {problems}."
    next_step = "Have its issuer give out a new one, and register that."


class CertificateSuspended(PolicyError):
    code = "certificate-suspended"
    exit_status = 13
    sentence = "The certificate {subject} is not accepted for now: {problems}."
    next_step = "Have its issuer lift the suspension, then run the command again."


class StatusUnknown(PolicyError):
    code = "status-unknown"
    exit_status = 13
    sentence = "The certificate {subject} is not accepted: {problems}."
    next_step = "Give its issuer's list with --crl FILE or a responder with --ocsp URL, then run the command again."


class PurposeRefused(PolicyError):
    code = "purpose-refused"
    exit_status = 9
    sentence = "The certificate {subject} is not accepted: {problems}."
    next_step = "Choose a certificate for an allowed purpose, or allow this one's with --allow-policy."


class AgentRefused(PolicyError):
    code = "agent-refused"
    exit_status = 9
    sentence = "The agent refused: {problem}."
    next_step = "{remedy}"


class UnsupportedError(DojangError):
    """Family: nobody can, here."""


class UnsupportedMechanism(UnsupportedError):
    code = "unsupported-mechanism"
    exit_status = 10
    sentence = "{where} cannot do {mechanism}."
    next_step = "'dojang token show' lists what this token can do; choose another algorithm."


class UnsupportedFormat(UnsupportedError):
    code = "unsupported-format"
    exit_status = 10
    sentence = "{what} is in a form dojang does not read: {problem}."
    next_step = "Convert it first, or report the form so that it can be added."


class UnsupportedOperation(UnsupportedError):
    code = "unsupported-operation"
    exit_status = 10
    sentence = "{where} cannot {operation}."
    next_step = "Choose another location; 'dojang where' shows those in use."


class VerificationFailed(DojangError):
    """The signature, the path or the revocation state is not good; ``checks`` tells which."""

    code = "verification-failed"
    exit_status = 13
    sentence = "Verification failed: {problems}."
    next_step = "Do not rely on this file; compare it with the original or ask the signer."


class Bug(DojangError):
    """A mistake in dojang itself; raised by nobody, shown for every exception that nobody expected."""

    code = "bug"
    exit_status = 1
    sentence = "Something went wrong inside dojang ({kind}); this is a mistake in dojang, not in what you did."
    next_step = "Report it with the file {path}; --log-level debug shows the details here."
