"""Every error dojang raises on purpose.

    DojangError
    ├── UserError            the person at the keyboard can fix it
    │   ├── Usage · InvalidUri · InvalidAddress · InvalidName · InvalidSource
    │   ├── InvalidOtp · OtpIncorrect · OtpReplayed · CounterUnknown
    │   ├── OtpWrong · OtpLocked · TransportKeyWrong · SecretUnavailable · InputRequired
    │   ├── NotFound · Ambiguous · AlreadyExists · SerialMismatch · Interrupted · NothingDue · NothingToDo
    │   ├── CredentialBusy · OperationUnfinished · BatchIncomplete · AgentNotRunning
    │   ├── PinIncorrect · PinKnownWrong · PinUnusable · KeyMismatch
    │   ├── PasswordIncorrect · DevicePasswordIncorrect · DevicePasswordKnownWrong
    │   ├── ManagementKeyIncorrect · PasswordWithheld
    │   ├── WrappingKeyMismatch · SharesUnusable
    │   └── FileUnreadable · FileUnwritable · FileMalformed · FileChanged
    ├── DeviceError          the token, its driver or its daemon
    │   ├── TokenNotFound · AmbiguousToken · TokenRemoved · TokenNotInitialized · TokenWriteProtected · TokenFull
    │   ├── DiskNotFound · DiskRemoved
    │   ├── PinLocked · PinLastTry · PinNotSet · LoginRequired
    │   ├── ModuleUnloadable · DeviceBusy · DeviceFailure · DeviceDisobeyed · DeviceRefused · ObjectVanished
    │   ├── DaemonSilent · KeyReplaced · TokenClosed · SignatureUncertain · TimedOut · TouchTimedOut
    │   └── LocationSilent · AgentUnavailable
    ├── AuthorityError       the certificate authority or the peer
    │   ├── AuthorityRefused · AuthorityUnreachable · AuthorityUntrusted · AuthorityExpired · AnswerMismatch
    │   ├── AnswerPending · CentreBusy · CodeRefused · TooManyTries
    │   ├── FactorMissing · FactorRefused · FactorUnavailable
    │   └── MessageUnsent · MessageCodeRefused · TooManyMessages
    ├── ConfigurationError   a setting or the state folder
    │   ├── InvalidSetting · StateUnreadable · DatabaseUnavailable · ClockSetBack
    │   └── NoModule · HookFailed · NoticeUndelivered · CannotListen · ExtraMissing
    ├── PolicyError          refused by rule, whoever asks
    │   ├── NotPermitted · PasswordUnfit · KeyDoesNotLeave · NotRenewable · CertificateUnusable · AgentRefused
    │   ├── RootOffline
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

The two large families have a file each; whoever raises an error imports it from here.
"""

from dojang.errors.base import DojangError as DojangError
from dojang.errors.base import Phrase as Phrase
from dojang.errors.device import *
from dojang.errors.user import *


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


class AuthorityUntrusted(AuthorityError):
    code = "authority-untrusted"
    exit_status = 13
    sentence = "What answers for the authority {authority} did not prove that it is the authority: {problem}."
    next_step = "Make sure of its address, of the code, and of its certificate (--ca-certificate); then try again."


class AnswerPending(AuthorityError):
    code = "answer-pending"
    exit_status = 11
    retryable = True
    sentence = "The authority {authority} has not given its answer yet: {problem}."
    next_step = "Run the same command again, or 'dojang renew run'; the request is kept, and its key waits."


class AnswerMismatch(AuthorityError):
    code = "answer-mismatch"
    exit_status = 12
    sentence = "The certificate that came back does not match what was asked for: {problems}."
    next_step = "Nothing was installed; report this to the authority."


class CentreBusy(AuthorityError):
    code = "centre-busy"
    exit_status = 11
    retryable = True
    sentence = "The centre has more to do than it can at once."
    next_step = "Try again in {seconds} seconds; nothing was begun."


class CodeRefused(AuthorityError):
    """An authorization code that is not to be used; ``state`` tells what became of it."""

    code = "code-refused"
    exit_status = 12
    sentence = "The authority {authority} does not take the code of reference number {reference}: {problem}."
    next_step = "Ask the office that gave it out; it can make a new one."


class TooManyTries(AuthorityError):
    code = "too-many-tries"
    exit_status = 11
    retryable = True
    sentence = "The authority {authority} has had too many wrong codes from {source}."
    next_step = "Wait {minutes} minutes, make sure of reference number and code, then try again."


class MessageUnsent(AuthorityError):
    """``target`` is masked; ``sender`` is its kind in the settings."""

    code = "message-unsent"
    exit_status = 11
    retryable = True
    sentence = "No message was sent to {target} ({sender}): {problem}."
    next_step = (
        "Ask for another code later; this one is worthless. "
        "Who runs the authority finds what is wrong with 'dojang otp message test'."
    )


class MessageCodeRefused(AuthorityError):
    """A code that came by message; ``state`` what became of it, ``tries_left`` how often it may still be tried."""

    code = "message-code-refused"
    exit_status = 12
    sentence = "The authority {authority} does not take this code: {problem}."
    next_step = "{remedy}"


class TooManyMessages(AuthorityError):
    code = "too-many-messages"
    exit_status = 11
    retryable = True
    sentence = "The authority {authority} sends no further message now: {problem}."
    next_step = "Ask again in {seconds} seconds; the code that was sent last still works until it expires."


class FactorMissing(AuthorityError):
    """``ways`` are the sets of factors of which one is still to be passed."""

    code = "factor-missing"
    exit_status = 12
    sentence = "The authority {authority} issues this only after: {missing}."
    next_step = (
        "Pass them with --factor FACTOR=SRC; before another program asks, 'dojang cert prove' passes them for its key."
    )


class FactorRefused(AuthorityError):
    """A code that was not the right one, or none that is waited for."""

    code = "factor-refused"
    exit_status = 12
    sentence = "The authority {authority} does not take the code for '{factor}': {problem}."
    next_step = "Try again with a new code."


class FactorUnavailable(AuthorityError):
    """A factor that is wanted, and that this applicant cannot pass as things are."""

    code = "factor-unavailable"
    exit_status = 12
    sentence = "The authority {authority} cannot ask for '{factor}': {problem}."
    next_step = "Ask the office that registers applicants to add what is missing."


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


class DatabaseUnavailable(ConfigurationError):
    code = "database-unavailable"
    exit_status = 11
    retryable = True
    sentence = "The database {where} cannot be used at the moment: {problem}."
    next_step = "Check that it runs, can be reached and has room; then try again, nothing recorded was lost."


class ClockSetBack(ConfigurationError):
    code = "clock-set-back"
    exit_status = 11
    retryable = True
    sentence = "The clock says {now}, and the authority {authority} recorded a certificate at {latest} already."
    next_step = "Set the clock of this machine right; until then nothing is issued."


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


class CannotListen(ConfigurationError):
    code = "cannot-listen"
    exit_status = 9
    sentence = "Nobody can be served at {address}: {problem}."
    next_step = "End what holds that address, or choose another with --listen or --admin-listen."


class ExtraMissing(ConfigurationError):
    code = "extra-missing"
    exit_status = 10
    sentence = "This needs a part of dojang that is not installed ({module})."
    next_step = "Install it: pip install 'dojang[{extra}]'."


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


class RootOffline(PolicyError):
    code = "root-offline"
    exit_status = 9
    sentence = "The root key of the authority {authority} stays offline, so a server does not use it."
    next_step = (
        "Give a root that still issues itself an issuing key (dojang ca rollover prepare --key ADDRESS --name DN); "
        "what only the root can sign, do by a command where its key is: dojang ca crl --root --ca {authority}"
    )


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
