"""``dojang sign raw`` of one file by a key that the agent serves: what a shell loop does thousands of times.

Understanding command lines in general takes longer than everything else such a command does, so this understands one
kind of them and loads next to nothing. Whatever is unusual in any way is left untouched to the long way round: then
``shortcut`` gives ``None`` and nothing has happened. Both ways do the same; the tests hold them side by side.
"""

import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dojang.agent.signer import AgentSigner
    from dojang.settings import Settings

_LONGEST = 1 << 20  # read at once; who signs a longer file has time for the long way
_HASHES = {"ec-p384": "sha384", "ec-p521": "sha512"}
_SCHEMES = {"rsa": "pkcs1v15", "ec": "ecdsa"}
_NAMES = {"rsa": "rsa", "ec": "ecdsa"}


class _Unusual(Exception):
    """Nothing for the short way."""


class _Words:
    """The command line: ``sign raw --key ADDRESS FILE [-o OUT] [--json] [--quiet]``."""

    def __init__(self, words: list[str]) -> None:
        """``_Unusual`` for anything else."""
        self.key = self.file = self.output = ""
        self.json = self.quiet = False
        rest = iter(words)
        for word in rest:
            if word in ("--json", "--quiet"):
                setattr(self, word[2:], True)
            elif word in ("--key", "-o", "--output"):
                setattr(self, "key" if word == "--key" else "output", next(rest, "") or "-")
            elif not word or word[0] == "-" or self.file:
                raise _Unusual
            else:
                self.file = word
        named = f"{self.key}{self.file}{self.output}"
        if not self.file or self.output == "-" or "pin-" in self.key or not (named.isascii() and named.isprintable()):
            raise _Unusual
        self.output = self.output or f"{self.file}.sig"
        if any(part in ("", ".") for name in (self.file, self.output) for part in name.removeprefix("/").split("/")):
            raise _Unusual  # the long way tidies such names


class _Job:
    """One signature. Making this is where it proves usual: a key in the agent, a file to read, a file to write."""

    def __init__(self, words: _Words) -> None:
        """``_Unusual`` or ``OSError`` leaves nothing behind."""
        self.words = words
        if not _agent_lives():
            raise _Unusual
        self.settings = _settings()
        self.message = _read(words.file, words.output)
        self.signer = _signer(words.key, self.settings)
        self.folder = os.path.dirname(words.output) or os.curdir  # noqa: PTH120
        self.beside = f"{self.folder}/.dojang-{os.urandom(8).hex()}.tmp"
        self._descriptor = os.open(self.beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def sign(self) -> str:
        """Have it signed once; the signature's algorithm. Raises errors of ours only."""
        signer = self.signer
        if signer.family == "ed25519":
            signature, algorithm = signer.sign_message(self.message), "ed25519"
        else:
            from hashlib import new

            hash_name = _HASHES.get(signer.algorithm, "sha256")
            digest = new(hash_name, self.message).digest()
            signature = signer.sign_digest(digest, hash_name, _SCHEMES[signer.family])
            algorithm = f"{_NAMES[signer.family]}-{hash_name}"
        try:
            self._keep(signature)
        except OSError as error:
            from dojang.errors import FileUnwritable

            raise FileUnwritable(path=self.words.output, problem=error.strerror or str(error)) from error
        return algorithm

    def _keep(self, signature: bytes) -> None:
        """The whole file or none, as every output of dojang."""
        while signature:
            signature = signature[os.write(self._descriptor, signature) :]
        os.fsync(self._descriptor)
        os.replace(self.beside, self.words.output)  # noqa: PTH105
        self.beside = ""
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)

    def tidy(self) -> None:
        """Remove what was not finished."""
        if self.beside:
            os.unlink(self.beside)  # noqa: PTH108


def shortcut(arguments: list[str]) -> int | None:
    """Sign and give the exit status, or ``None``."""
    if arguments[:2] != ["sign", "raw"] or "_DOJANG_COMPLETE" in os.environ or not (sys.stdout and sys.stderr):
        return None
    try:
        job = _Job(_Words(arguments[2:]))
    except (_Unusual, OSError):
        return None
    try:
        _tell(job.words, job.sign(), job.settings)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt) as error:
        # It was asked to sign, so the long way must not ask again.
        from dojang.cli.run import report

        return report(arguments, "sign raw", error)
    finally:
        job.tidy()
    return 0


def _agent_lives() -> bool:
    from dojang.places import agent_socket_path

    return os.path.exists(agent_socket_path())  # noqa: PTH110


def _settings() -> "Settings | None":
    """The configuration, if there is one; it is then worth the time to read it."""
    from dojang.places import has_configuration

    if not has_configuration():
        return None
    from dojang.errors import DojangError
    from dojang.settings import load

    try:
        return load()
    except DojangError:
        raise _Unusual from None


def _read(file: str, output: str) -> bytes:
    """The file, if it is an ordinary one that stays as it is meanwhile, and the output will not replace it."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        before = os.fstat(descriptor)
        try:
            there = os.lstat(output)
        except FileNotFoundError:
            there = None
        if there is not None and (not stat.S_ISREG(there.st_mode) or os.path.samestat(there, before)):
            raise _Unusual
        if not stat.S_ISREG(before.st_mode) or before.st_size > _LONGEST:
            raise _Unusual
        message = os.read(descriptor, before.st_size + 1)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if len(message) != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise _Unusual
    return message


def _signer(key: str, settings: "Settings | None") -> "AgentSigner":
    module = os.environ.get("DOJANG_MODULE") or ""
    if settings is not None:
        module = settings.module or ""
        if key[:1] == "@":
            key = settings.aliases.get(key[1:], "")
    if key[:7].lower() != "pkcs11:" or "pin-" in key or (settings is not None and not settings.agent):
        raise _Unusual
    from dojang.agent.signer import find_signer

    try:
        signer = find_signer(key, module)
    except Exception:  # a refusal is said by the long way, which asks again
        raise _Unusual from None
    if signer is None or signer.family not in ("rsa", "ec", "ed25519"):
        raise _Unusual
    return signer


def _tell(words: _Words, algorithm: str, settings: "Settings | None") -> None:
    """What the long way prints."""
    if words.json:
        from json import dumps

        data = {"output": words.output, "format": "raw", "algorithm": algorithm}
        text = dumps({"schema": 1, "command": "sign raw", "ok": True, "data": data})
    elif words.quiet:
        text = words.output
    else:
        text = _sentence(words, algorithm, None if settings is None else settings.lang)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _sentence(words: _Words, algorithm: str, lang: str | None) -> str:
    template = "Signed {file} ({algorithm}): {output}"
    facts = {"file": words.file, "algorithm": algorithm, "output": words.output}
    env = os.environ
    if "ko" not in (lang or env.get("LC_ALL") or env.get("LC_MESSAGES") or env.get("LANG") or ""):
        return template.format_map(facts)
    from dojang.cli import language

    language.speak(language.choose(lang, env))
    return language.say(template, **facts)
