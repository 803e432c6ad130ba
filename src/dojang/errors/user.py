"""The errors that the person at the keyboard can fix."""

from dojang.errors.base import DojangError


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


class InvalidOtp(UserError):
    code = "invalid-otp"
    exit_status = 2
    sentence = "These one-time passwords cannot be: {problem}."
    next_step = "Correct what was given, then try again."


class OtpWrong(UserError):
    """A code that was counted as a wrong try; ``left`` more and what it is for is locked."""

    code = "otp-wrong"
    exit_status = 13
    sentence = "That is not the code of {what}; tries left: {left}."
    next_step = "Read it again and type it anew; every wrong one is counted."


class OtpLocked(UserError):
    code = "otp-locked"
    exit_status = 8
    sentence = "{what} is locked after too many wrong codes."
    next_step = "Have an officer unlock it: {command}"


class OtpIncorrect(UserError):
    code = "otp-incorrect"
    exit_status = 13
    sentence = "The one-time password is not one of {what} at this time."
    next_step = "Type the one that is shown now; 'dojang otp resync' helps where the two have run apart."


class OtpReplayed(UserError):
    code = "otp-replayed"
    exit_status = 13
    sentence = "This one-time password of {what} has been used already, or is older than one that has."
    next_step = "Wait for the next one. If the clock of this machine was set back, set it right."


class CounterUnknown(UserError):
    """A counter that is guessed too low shows codes a second time."""

    code = "counter-unknown"
    exit_status = 9
    sentence = "Which counter is next for {what} is not known here: its codes were counted on another machine."
    next_step = "Say it: dojang otp resync ADDRESS --counter N, with N beyond every one that was ever used."


class TransportKeyWrong(UserError):
    code = "transport-key-wrong"
    exit_status = 7
    sentence = "{path} does not open with this key or password, or was changed on its way: {problem}."
    next_step = "Make sure of the key and of the file with whoever sent it; nothing was stored."


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


class DevicePasswordIncorrect(UserError):
    code = "device-password-incorrect"
    exit_status = 7
    sentence = "The password of the device {address} is wrong, or none was given."
    next_step = "Make sure of the password; it was tried once and is not tried again by itself."


class DevicePasswordKnownWrong(UserError):
    code = "device-password-known-wrong"
    exit_status = 7
    sentence = "This password was refused by the device {address} before, so it was not tried again."
    next_step = "Give a different password. If this one was set on the device since, remove {memory} and try again."


class ManagementKeyIncorrect(UserError):
    code = "management-key-incorrect"
    exit_status = 7
    sentence = "The management key of the card {token} is not the one given; nothing on it was changed."
    next_step = (
        "Give it in hexadecimal with --so-pin-source; cards are delivered with a known one, which is tried else."
    )


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
