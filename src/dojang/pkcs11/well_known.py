"""Where PKCS#11 modules are installed when nobody says so: data, each row with the place it was learnt from.

``{lib}`` stands for each system library folder and for ``pkcs11`` inside it; ``{programs}`` for %ProgramFiles%,
``{system}`` for the Windows system folder. The trust stores (p11-kit-trust, nssckbi), the logging shim pkcs11-spy and
OpenSC's onepin variant are left out on purpose: they hold no keys of their own.
"""

import os
import sys
from collections.abc import Iterator
from typing import Final

LINUX: Final = (
    # Debian, Fedora and Arch package file lists; upstream default: PREFIX/lib/softhsm/libsofthsm2.so.
    ("softhsm2", "{lib}/softhsm/libsofthsm2.so"),
    ("softhsm2", "{lib}/libsofthsm2.so"),
    ("softhsm2", "/usr/lib/softhsm/libsofthsm2.so"),
    ("softhsm2", "/usr/local/lib/softhsm/libsofthsm2.so"),
    # Debian opensc-pkcs11, Fedora opensc; OpenSC wiki "Linux Installation".
    ("opensc", "{lib}/opensc-pkcs11.so"),
    # Yubico "PIV YKCS11 module" (default /usr/local/lib), Debian ykcs11.
    ("ykcs11", "{lib}/libykcs11.so"),
    ("ykcs11", "{lib}/libykcs11.so.2"),
    # Debian and Arch yubihsm-pkcs11.
    ("yubihsm", "{lib}/yubihsm_pkcs11.so"),
    # Debian libopencryptoki0, Fedora opencryptoki-libs.
    ("opencryptoki", "{lib}/libopencryptoki.so"),
    ("opencryptoki", "{lib}/opencryptoki/libopencryptoki.so"),
    ("opencryptoki", "{lib}/opencryptoki/libopencryptoki.so.0"),
    # Debian libtpm2-pkcs11-1, Arch tpm2-pkcs11.
    ("tpm2-pkcs11", "{lib}/libtpm2_pkcs11.so"),
    ("tpm2-pkcs11", "{lib}/libtpm2_pkcs11.so.1"),
    # Debian libnss3, Fedora nss-softokn.
    ("nss", "{lib}/libsoftokn3.so"),
    # SmartCard-HSM "sc-hsm-embedded" README.
    ("sc-hsm", "{lib}/libsc-hsm-pkcs11.so"),
    # SafeNet Authentication Client (Linux) Administrator Guide.
    ("etoken", "{lib}/libeTPkcs11.so"),
    ("idprime", "{lib}/libIDPrimePKCS11.so"),
    # A.E.T. SafeSign Identity Client (Linux) release notes.
    ("safesign", "{lib}/libaetpkss.so.3"),
    # Feitian ePass2003 SDK.
    ("epass2003", "{lib}/libcastle.so"),
    ("epass2003", "{lib}/libcastle.so.1.0.0"),
    # Bit4id universal middleware.
    ("bit4id", "{lib}/libbit4xpki.so"),
    # Thales Luna HSM Client guide.
    ("luna", "/usr/safenet/lunaclient/lib/libCryptoki2_64.so"),
    # Entrust nShield Security World user guide.
    ("nshield", "/opt/nfast/toolkits/pkcs11/libcknfast.so"),
    # AWS CloudHSM user guide, "PKCS #11 library for Client SDK 5".
    ("cloudhsm", "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so"),
    # Utimaco CryptoServer PKCS#11 R3 guide; the installer leaves the folder to the administrator.
    ("utimaco", "/opt/utimaco/lib/libcs_pkcs11_R3.so"),
    ("utimaco", "/usr/lib/libcs_pkcs11_R3.so"),
    # Securosys Primus PKCS#11 provider guide.
    ("primus", "/usr/local/primus/lib/libprimusP11.so"),
)

MACOS: Final = (
    # Homebrew formulae softhsm, opensc, yubico-piv-tool, yubihsm-shell (Apple silicon and Intel prefixes).
    ("softhsm2", "/opt/homebrew/lib/softhsm/libsofthsm2.so"),
    ("softhsm2", "/usr/local/lib/softhsm/libsofthsm2.so"),
    ("opensc", "/Library/OpenSC/lib/opensc-pkcs11.so"),
    ("opensc", "/opt/homebrew/lib/opensc-pkcs11.so"),
    ("opensc", "/usr/local/lib/opensc-pkcs11.so"),
    ("ykcs11", "/opt/homebrew/lib/libykcs11.dylib"),
    ("ykcs11", "/usr/local/lib/libykcs11.dylib"),
    ("yubihsm", "/opt/homebrew/lib/pkcs11/yubihsm_pkcs11.dylib"),
    ("yubihsm", "/usr/local/lib/pkcs11/yubihsm_pkcs11.dylib"),
    ("nss", "/opt/homebrew/opt/nss/lib/libsoftokn3.dylib"),
    # SafeNet Authentication Client (Mac) Administrator Guide.
    ("etoken", "/usr/local/lib/libeTPkcs11.dylib"),
    ("idprime", "/usr/local/lib/libIDPrimePKCS11.dylib"),
    # A.E.T. SafeSign Identity Client for macOS release document.
    ("safesign", "/Applications/tokenadmin.app/Contents/Frameworks/libaetpkss.dylib"),
)

WINDOWS: Final = (
    # SoftHSM2-for-Windows installer (disig).
    ("softhsm2", "C:\\SoftHSM2\\lib\\softhsm2-x64.dll"),
    # OpenSC wiki "Windows Quick Start".
    ("opensc", "{programs}\\OpenSC Project\\OpenSC\\pkcs11\\opensc-pkcs11.dll"),
    # Yubico "PIV YKCS11 module".
    ("ykcs11", "{programs}\\Yubico\\Yubico PIV Tool\\bin\\libykcs11.dll"),
    # SafeNet Authentication Client (Windows) Administrator Guide.
    ("etoken", "{system}\\eTPKCS11.dll"),
    # A.E.T. SafeSign, Feitian ePass2003, Bit4id: their installers put the module into the system folder.
    ("safesign", "{system}\\aetpkss1.dll"),
    ("epass2003", "{system}\\eps2003csp11.dll"),
    ("bit4id", "{system}\\bit4xpki.dll"),
    # Thales Luna HSM Client guide; Entrust nShield user guide; AWS CloudHSM user guide.
    ("luna", "{programs}\\SafeNet\\LunaClient\\cryptoki.dll"),
    ("nshield", "{programs}\\nCipher\\nfast\\toolkits\\pkcs11\\cknfast.dll"),
    ("cloudhsm", "{programs}\\Amazon\\CloudHSM\\lib\\cloudhsm_pkcs11.dll"),
)


def library_folders() -> list[str]:
    """The system's library folders, this Python's own architecture first."""
    multiarch = getattr(sys.implementation, "_multiarch", "")
    own = [f"/usr/lib/{multiarch}"] if multiarch else []
    return [*own, "/usr/lib64", "/usr/lib", "/usr/local/lib64", "/usr/local/lib"]


def candidates(platform: str = sys.platform) -> Iterator[tuple[str, str]]:
    """Name and path of every place to look at on ``platform``, whether there is something or not."""
    if platform == "win32":
        folders = {
            "programs": os.environ.get("ProgramFiles", "C:\\Program Files"),
            "system": os.environ.get("SystemRoot", "C:\\Windows") + "\\System32",
        }
        for name, pattern in WINDOWS:
            yield name, pattern.format_map(folders)
    elif platform == "darwin":
        yield from MACOS
    else:
        folders_here = filter(os.path.isdir, library_folders())
        places = [place for folder in folders_here for place in (folder, f"{folder}/pkcs11")]
        # Without a server to talk to it is an empty shell (p11-kit-client: "p11-kit server" manual page).
        client = (("p11-kit-client", "{lib}/p11-kit-client.so"),) if os.environ.get("P11_KIT_SERVER_ADDRESS") else ()
        for name, pattern in (*LINUX, *client):
            if "{lib}" not in pattern:
                yield name, pattern
            for place in places if "{lib}" in pattern else ():
                yield name, pattern.replace("{lib}", place)
