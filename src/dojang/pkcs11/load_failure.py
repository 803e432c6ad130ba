"""Why a PKCS#11 module does not load or start, and what a person can do about it."""

import os
import re
import sys
from typing import Final

from dojang.errors import ModuleUnloadable, Phrase
from dojang.pkcs11 import softhsm

_ELF_MACHINES: Final = {
    3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv",
    258: "loongarch",
}  # fmt: skip
_PE_MACHINES: Final = {0x14C: "i386", 0x8664: "x86_64", 0xAA64: "aarch64"}
_MACH_MACHINES: Final = {7: "i386", 0x01000007: "x86_64", 0x0100000C: "aarch64"}
# glibc, musl and macOS, each naming the library that is missing.
_DEPENDENCY: Final = (
    r"^(?P<glibc>[^\s:]+): cannot open shared object file"
    r"|Error loading shared library (?P<musl>[^\s:]+):"
    r"|Library not loaded: (?P<macos>\S+)"
)
_TOO_OLD: Final = r"version [`'](?P<version>[^']+)' not found"
_UNDEFINED: Final = r"undefined symbol: (?P<symbol>\w+)|symbol not found[^']*'(?P<macos>\w+)'"


def explain_load_failure(path: str, error: Exception) -> ModuleUnloadable:
    """The reason why ``path`` could not be loaded, from the file itself and from what the loader said.

    ``error`` is the ``OSError`` of the loader, or the ``AttributeError`` for a missing C_GetFunctionList. The fact
    ``reason`` is one of missing-file, unreadable-file, not-a-library, wrong-architecture, missing-dependency,
    not-pkcs11, loader.
    """
    return _about_file(path) or _about_loader(path, error)


def explain_missing_init_string(path: str, init_string: str | None) -> ModuleUnloadable | None:
    """Why there is no point in loading NSS without an init string; ``None`` for every other module."""
    if init_string is not None or not _is(path, "libsoftokn3", "softokn3"):
        return None
    return _failure(
        path,
        "missing-configuration",
        Phrase("NSS needs to be told its database folder (an init string)"),
        Phrase(
            "Add to the configuration for this module: init-string = "
            "\"configdir='sql:/path/to/nssdb' certPrefix='' keyPrefix='' secmod='secmod.db' flags=\"."
        ),
    )


def explain_initialize_failure(path: str, result: str) -> ModuleUnloadable:
    """The reason why C_Initialize answered ``result`` (``CKR_…``), where the module is known; its number otherwise."""
    said = Phrase("C_Initialize said {result}", result=result)
    if _is(path, "libsofthsm2", "softhsm2"):
        return _about_softhsm(path, said)
    if result == "CKR_ARGUMENTS_BAD" and (nss := explain_missing_init_string(path, None)):
        return nss
    for prefixes, problem, remedy in _KNOWN_STARTS:
        if _is(path, *prefixes):
            return _failure(
                path, "missing-configuration", Phrase("{said}; {problem}", said=said, problem=problem), remedy
            )
    return _failure(
        path,
        "initialize",
        said,
        Phrase(
            "Check that the driver's service runs and its configuration is readable; its manual tells where they are."
        ),
    )


_KNOWN_STARTS: Final = (
    (("libopencryptoki", "PKCS11_API"), Phrase("its daemon pkcsslotd is not running or may not be used"),
     Phrase("Start pkcsslotd (systemctl start pkcsslotd) and join the group pkcs11.")),
    (("libtpm2_pkcs11",), Phrase("its store or the TPM cannot be used"),
     Phrase("Point TPM2_PKCS11_STORE at a store made by 'tpm2_ptool init'; join the group tss.")),
    (("p11-kit-client",), Phrase("no p11-kit server answers"),
     Phrase("Start 'p11-kit server' and set P11_KIT_SERVER_ADDRESS to what it prints.")),
    (("libcloudhsm_pkcs11", "cloudhsm_pkcs11"), Phrase("its cluster is not configured or not reachable"),
     Phrase("Run /opt/cloudhsm/bin/configure-pkcs11 with the address of the cluster.")),
    (("libCryptoki2", "cryptoki"), Phrase("the Luna client is not configured"),
     Phrase("Check Chrystoki.conf (ChrystokiConfigurationPath) and 'vtl verify'.")),
    (("libcknfast", "cknfast"), Phrase("the nShield hardserver is not running or may not be used"),
     Phrase("Start the hardserver and join the group nfast; 'enquiry' shows its state.")),
    (("libcs_pkcs11",), Phrase("its configuration cannot be used"),
     Phrase("Point CS_PKCS11_R3_CFG at a readable cs_pkcs11_R3.cfg.")),
    (("yubihsm_pkcs11",), Phrase("its connector is not configured or not reachable"),
     Phrase("Point YUBIHSM_PKCS11_CONF at a file with 'connector = http://127.0.0.1:12345'; start the connector.")),
)  # fmt: skip


def _failure(path: str, reason: str, problem: str, remedy: Phrase) -> ModuleUnloadable:
    return ModuleUnloadable(module=path, problem=problem, remedy=remedy, reason=reason)


def _is(path: str, *prefixes: str) -> bool:
    names = (os.path.basename(path), os.path.basename(os.path.realpath(path)))
    return any(name.startswith(prefixes) for name in names)


def _about_file(path: str) -> ModuleUnloadable | None:
    if "\0" in path or not os.path.exists(path):
        return _failure(
            path,
            "missing-file",
            Phrase("there is no such file"),
            Phrase("Check the path; 'dojang doctor' lists the modules that were found."),
        )
    try:
        theirs = architecture_of(path)
    except OSError as error:
        problem = error.strerror or "it cannot be read"
        return _failure(
            path, "unreadable-file", problem, Phrase("Give yourself permission to read it, or name another file.")
        )
    if theirs is None:
        remedy = Phrase("Name the driver's shared library (.so, .dylib or .dll), or install the driver again.")
        return _failure(path, "not-a-library", Phrase("it is not a shared library, or only part of one"), remedy)
    ours = _own_architecture()
    if ours is not None and "several" not in (ours, theirs) and ours != theirs:
        return _failure(
            path,
            "wrong-architecture",
            Phrase("it is built for {theirs} and this Python runs as {ours}", theirs=theirs, ours=ours),
            Phrase(
                "Install the driver's {ours} build, or run dojang with a Python for {theirs}.", ours=ours, theirs=theirs
            ),
        )
    return None


def _about_loader(path: str, error: Exception) -> ModuleUnloadable:
    text = str(error)
    if isinstance(error, AttributeError):
        problem = Phrase("it has no C_GetFunctionList, so it is not a PKCS#11 module")
        return _failure(
            path, "not-pkcs11", problem, Phrase("Name the PKCS#11 library of the driver; its manual tells which.")
        )
    if (missing := re.search(_DEPENDENCY, text)) and (library := missing[missing.lastgroup or 0]) != path:
        return _failure(
            path,
            "missing-dependency",
            Phrase("it needs {library}, which is not installed", library=library),
            Phrase(
                "Install the package with {library} (Debian: 'apt-file search {name}').",
                library=library,
                name=os.path.basename(library),
            ),
        )
    if getattr(error, "winerror", None) == 126:
        remedy = Phrase("Put the folder of the driver's other DLLs on the PATH, or install the driver again.")
        return _failure(path, "missing-dependency", Phrase("a DLL that it needs was not found"), remedy)
    if old := re.search(_TOO_OLD, text):
        problem = Phrase("it was built for a newer system: {version} is missing here", version=old["version"])
        return _failure(
            path, "missing-dependency", problem, Phrase("Install the driver's build for this system's release.")
        )
    if undefined := re.search(_UNDEFINED, text):
        problem = Phrase("a library it uses lacks {symbol}", symbol=undefined[undefined.lastgroup or 0])
        return _failure(
            path, "missing-dependency", problem, Phrase("Bring the driver and its libraries to matching versions.")
        )
    if "failed to map segment" in text or "cannot enable executable stack" in text:
        problem = Phrase("the system does not let programs run from there")
        return _failure(
            path, "loader", problem, Phrase("Install it on a file system mounted without noexec; check SELinux.")
        )
    said = text.removeprefix(f"{path}: ") or type(error).__name__
    return _failure(path, "loader", said, Phrase("Install the driver again; 'ldd' on the file shows what it lacks."))


def architecture_of(path: str) -> str | None:
    """Processor and word size of a program or library (ELF, Mach-O, PE); ``None`` if it is neither, ``several`` for a
    file for more than one. ``OSError`` if it cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(4096)
    if head[:4] == b"\x7fELF" and len(head) >= 64 and head[4] in (1, 2):
        machine = int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")
        return _named(_ELF_MACHINES, machine, 32 * head[4])
    if head[:4] in (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe") and len(head) >= 32:
        return _named(_MACH_MACHINES, int.from_bytes(head[4:8], "little"), 64 if head[0] == 0xCF else 32)
    if head[:4] in (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"):
        return "several"
    if head[:2] == b"MZ" and len(head) >= 64:
        return _pe_architecture(head)
    return None


def _pe_architecture(head: bytes) -> str | None:
    at = int.from_bytes(head[60:64], "little")
    if head[at : at + 4] != b"PE\0\0" or len(head) < at + 6:
        return None
    machine = int.from_bytes(head[at + 4 : at + 6], "little")
    return _named(_PE_MACHINES, machine, 32 if machine == 0x14C else 64)


def _named(machines: dict[int, str], machine: int, bits: int) -> str:
    return f"{machines.get(machine, f'processor {machine}')} ({bits} bit)"


def _own_architecture() -> str | None:
    for path in ("/proc/self/exe", sys.executable):
        try:
            return architecture_of(path)
        except OSError:
            continue
    return None


def _about_softhsm(path: str, said: str) -> ModuleUnloadable:
    named = os.environ.get("SOFTHSM2_CONF")
    readable = [place for place in softhsm.configuration_files() if os.access(place, os.R_OK)]
    reason = "missing-configuration"
    if not readable:
        problem = (
            Phrase("SOFTHSM2_CONF names {path}, which cannot be read", path=named)
            if named
            else Phrase("SoftHSM2 has no configuration here")
        )
        return _failure(path, reason, problem, _SOFTHSM_REMEDY)
    folder = softhsm.token_folder(readable[0])
    if folder is None:
        return _failure(
            path,
            reason,
            Phrase("{path} names no token folder (directories.tokendir)", path=readable[0]),
            _SOFTHSM_REMEDY,
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        remedy = Phrase(
            "Make {folder} a folder you may write to, or set SOFTHSM2_CONF to a file that names such a folder.",
            folder=folder,
        )
        return _failure(
            path, reason, Phrase("its token folder {folder} is missing or not yours to write", folder=folder), remedy
        )
    problem = Phrase("{said} with the configuration {path}", said=said, path=readable[0])
    return _failure(
        path, reason, problem, Phrase("Check that file against softhsm2.conf(5); objectstore.backend is file.")
    )


_SOFTHSM_REMEDY: Final = Phrase(
    "Write a file with the line 'directories.tokendir = /some/folder', make that folder, "
    "and set SOFTHSM2_CONF to the file."
)
