"""The errors of tokens and disks, their drivers and their daemons."""

from dojang.errors.base import DojangError, Phrase


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


class TouchTimedOut(DeviceError):
    code = "touch-timed-out"
    exit_status = 11
    retryable = True
    sentence = "Device {token} wanted to be touched and was not; no code was computed."
    next_step = "Run the command again and touch the device while it blinks."


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
