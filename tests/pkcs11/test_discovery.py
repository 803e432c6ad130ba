"""Finding modules, and saying why one does not load: with real libraries, built or broken for the purpose."""

import ctypes
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dojang.errors import ModuleUnloadable
from dojang.pkcs11.discovery import (
    ModuleSearch,
    ModuleSpec,
    check_pin_of_file,
    explain_initialize_failure,
    explain_load_failure,
    explain_missing_init_string,
    find_modules,
    for_address,
)
from dojang.pkcs11.p11_kit import Folders
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.pkcs11.well_known import candidates

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """p11-kit's folders, empty, and a library folder for relative module names."""
    for name in ("etc/modules", "packages", "user/modules", "lib"):
        (tmp_path / name).mkdir(parents=True)
    return Folders((f"{tmp_path}/etc",), (f"{tmp_path}/packages",), f"{tmp_path}/user", (f"{tmp_path}/lib",))


@pytest.fixture
def library(tmp_path: Path) -> Callable[..., str]:
    """Builds a shared library from a line of C."""

    def build(name: str, code: str = "int nothing;", *flags: str) -> str:
        path = tmp_path / "lib" / name
        path.parent.mkdir(exist_ok=True)
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-x", "none", "-o", path, *flags],
            input=code,
            text=True,
            check=True,
        )
        return str(path)

    return build


def found(folders: Folders, search: ModuleSearch | None = None) -> list[ModuleSpec]:
    """What p11-kit's files gave; the machine's own well-known modules are left out."""
    specs = find_modules(search or ModuleSearch(), folders=folders)
    return [spec for spec in specs if spec.found_by != "well-known"]


def load_error(path: str) -> ModuleUnloadable:
    with pytest.raises((OSError, AttributeError)) as caught:
        ctypes.CDLL(path).C_GetFunctionList  # noqa: B018
    return explain_load_failure(path, caught.value)


def test_softhsm_is_found_without_being_named() -> None:
    """On a machine with SoftHSM2 the search finds it, once, although several names lead to the file."""
    paths = [os.path.realpath(spec.path) for spec in find_modules(ModuleSearch())]
    assert paths.count(os.path.realpath(SOFTHSM)) == 1
    assert len(paths) == len(set(paths))


def test_a_module_file_of_p11_kit_is_read(folders: Folders, library: Callable[..., str]) -> None:
    """module: relative to p11-kit's folder or absolute, x-init-reserved as init string, comments and blanks ignored."""
    near, far = library("near.so"), library("../far.so")
    Path(folders.packages[0], "near.module").write_text(
        "# comment\n\n module:  near.so \nx-init-reserved: configdir='sql:/x' flags=readOnly\nnonsense\n"
    )
    Path(folders.packages[0], "far.module").write_text(f"module: {far}\npriority: 5\n")
    assert found(folders) == [
        ModuleSpec(far, "far", None, None, "p11-kit"),
        ModuleSpec(near, "near", "configdir='sql:/x' flags=readOnly", None, "p11-kit"),
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", True), ("enable-in: dojang", True), ("enable-in: a, dojang", True), ("enable-in: a dojang b", True),
        ("enable-in: firefox", False), ("enable-in:", False), ("disable-in: dojang", False),
        ("disable-in: a,dojang", False), ("disable-in: p11-kit-proxy", True), ("disable-in: notdojang", True),
        ("trust-policy: yes", False), ("priority: high", True),
    ],
)  # fmt: skip
def test_a_module_may_be_disabled_for_us(
    folders: Folders, library: Callable[..., str], settings: str, expected: bool
) -> None:
    """enable-in and disable-in name programs; trust stores hold no keys."""
    library("m.so")
    Path(folders.packages[0], "m.module").write_text(f"module: m.so\n{settings}\n")
    assert bool(found(folders)) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"", b"module:", b"module: missing.so", b"module: a\0b.so", b"remote: |p11-kit remote", b"\xff\xfe\x00",
        b"module: " + b"x" * 1_000_000, b"module: lib", b"module: ../lib",
    ],
)  # fmt: skip
def test_a_broken_module_file_hides_no_other(folders: Folders, library: Callable[..., str], content: bytes) -> None:
    """Files that name nothing loadable are passed over, whatever is in them."""
    good = library("good.so")
    Path(folders.packages[0], "a.module").write_bytes(content)
    Path(folders.packages[0], "good.module").write_text("module: good.so")
    Path(folders.packages[0], "good.module.bak").write_text("module: good.so")
    Path(folders.packages[0], "folder.module").mkdir()
    assert [spec.path for spec in found(folders)] == [good]


def test_the_administrator_overrides_the_package(folders: Folders, library: Callable[..., str]) -> None:
    """Settings of the same name in /etc win one by one over those of the package."""
    library("m.so")
    Path(folders.packages[0], "m.module").write_text("module: m.so\nx-init-reserved: package\n")
    Path(folders.system[0], "modules/m.module").write_text("x-init-reserved: administrator\n")
    assert [spec.init_string for spec in found(folders)] == ["administrator"]


@pytest.mark.parametrize(
    ("system", "user", "expected"),
    [
        (None, None, ["shared"]), (None, "user-config: merge", ["shared"]), ("user-config: none", None, ["shared"]),
        ("user-config: nonsense", None, ["shared"]), ("user-config: merge", None, ["own", "shared"]),
        ("user-config: only", None, ["own"]), ("user-config: override", None, ["own"]),
        ("user-config: merge", "user-config: none", ["shared"]), ("user-config: merge", "user-config: only", ["own"]),
    ],
)  # fmt: skip
def test_the_users_own_files_count_only_if_the_system_says_so(
    folders: Folders, library: Callable[..., str], system: str | None, user: str | None, expected: list[str]
) -> None:
    """user-config in the system's pkcs11.conf lets the user's folder in; the user may narrow that."""
    library("own.so")
    library("shared.so")
    Path(folders.packages[0], "shared.module").write_text("module: shared.so")
    Path(folders.user, "modules/own.module").write_text("module: own.so")
    for folder, text in ((folders.system[0], system), (folders.user, user)):
        if text:
            Path(folder, "pkcs11.conf").write_text(text)
    assert [spec.name for spec in found(folders)] == expected


def test_the_proxy_is_left_out_beside_its_members(folders: Folders, library: Callable[..., str]) -> None:
    """p11-kit-proxy would show each token a second time; named alone it is used."""
    library("member.so")
    proxy = library("libp11-kit.so.0.3.0")
    Path(folders.libraries[0], "p11-kit-proxy.so").symlink_to(proxy)
    link = f"{folders.libraries[0]}/p11-kit-proxy.so"
    configured = (ModuleSpec(link, "", found_by="configuration"),)
    assert [spec.path for spec in found(folders, ModuleSearch(configured=configured))] == [link]
    Path(folders.packages[0], "member.module").write_text("module: member.so")
    assert [spec.name for spec in found(folders, ModuleSearch(configured=configured))] == ["member"]
    assert [spec.path for spec in found(folders, ModuleSearch(module=link))] == [link]


def test_a_configured_module_comes_first_and_keeps_its_pin(folders: Folders, library: Callable[..., str]) -> None:
    """The same file found twice is one module: the configuration's SHA-256 and p11-kit's init string both hold."""
    path = library("m.so")
    Path(folders.packages[0], "m.module").write_text("module: m.so\nx-init-reserved: init\n")
    configured = (ModuleSpec(path, "", None, "ab" * 32, "configuration"),)
    expected = ModuleSpec(path, "m", "init", "ab" * 32, "configuration")
    assert found(folders, ModuleSearch(configured=configured)) == [expected]
    named = found(folders, ModuleSearch(module=path, configured=configured))
    assert [(spec.sha256, spec.init_string, spec.found_by) for spec in named] == [("ab" * 32, "init", "option")]


def test_a_configured_module_that_is_missing_stays_listed() -> None:
    """What a person wrote down is not dropped silently: loading it says that it is missing."""
    configured = (ModuleSpec("/nonexistent/m.so", "", found_by="configuration"),)
    (spec,) = find_modules(ModuleSearch(configured=configured, discover=False))
    assert spec.path == "/nonexistent/m.so"
    assert load_error(spec.path).facts["reason"] == "missing-file"


def test_nothing_is_discovered_when_told_not_to() -> None:
    """discover=False leaves the configuration alone."""
    assert find_modules(ModuleSearch(discover=False)) == []


@pytest.mark.parametrize("name", ["softhsm2", "SoftHSM2", "libsofthsm2.so", "libsofthsm2"])
def test_a_module_may_be_named_without_its_path(name: str) -> None:
    """A name finds the installed module, as module-name of RFC 7512 does."""
    (spec,) = find_modules(ModuleSearch(module=name, named_by="environment"))
    assert os.path.realpath(spec.path) == os.path.realpath(SOFTHSM)
    assert spec.found_by == "environment"


def test_a_bare_name_is_not_looked_for_in_the_current_folder(
    folders: Folders, library: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library lying in the working folder is loaded only by an explicit path."""
    path = Path(library("evil.so"))
    monkeypatch.chdir(path.parent)
    with pytest.raises(ModuleUnloadable):
        found(folders, ModuleSearch(module="evil.so"))
    assert [spec.path for spec in found(folders, ModuleSearch(module="./evil.so"))] == [str(path)]


@pytest.mark.parametrize("module", ["/nonexistent/libx.so", "libnosuch.so", "nosuch", "a\0b", "/a\0b", "x" * 100_000])
def test_a_named_module_that_is_missing_is_an_error(module: str) -> None:
    """Never a silent fall-back to another module."""
    with pytest.raises(ModuleUnloadable) as caught:
        find_modules(ModuleSearch(module=module))
    assert caught.value.facts["reason"] == "missing-file"


def test_an_address_names_its_module(tmp_path: Path) -> None:
    """module-path, a folder with module-name, module-name alone; an option wins, the environment does not."""
    (tmp_path / "libmine.so").touch()
    narrow = Pkcs11Uri(module_path=str(tmp_path), module_name="mine")
    assert for_address(ModuleSearch(), narrow).module == f"{tmp_path}/libmine.so"
    assert for_address(ModuleSearch(), Pkcs11Uri(module_name="softhsm2")).module == "softhsm2"
    path = Pkcs11Uri(module_path="/m.so")
    assert for_address(ModuleSearch(module="o"), path).module == "o"
    assert for_address(ModuleSearch(module="e", named_by="environment"), path).module == "/m.so"
    assert for_address(ModuleSearch(), Pkcs11Uri(token="a")) == ModuleSearch()


def test_a_changed_module_is_not_loaded(library: Callable[..., str]) -> None:
    """The pinned SHA-256 is compared before loading; colons and capitals do not matter."""
    path = library("m.so")
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    check_pin_of_file(ModuleSpec(path, "m"))
    check_pin_of_file(ModuleSpec(path, "m", sha256=digest))
    check_pin_of_file(ModuleSpec(path, "m", sha256=":".join(digest[i : i + 2] for i in range(0, 64, 2)).upper()))
    for wrong in ("0" * 64, "", digest[:-1]):
        with pytest.raises(ModuleUnloadable) as caught:
            check_pin_of_file(ModuleSpec(path, "m", sha256=wrong))
        assert caught.value.facts["reason"] == "changed-file"
    with pytest.raises(ModuleUnloadable) as caught:
        check_pin_of_file(ModuleSpec("/nonexistent", "m", sha256=digest))
    assert caught.value.facts["reason"] == "missing-file"


def test_why_a_module_does_not_load(library: Callable[..., str], tmp_path: Path) -> None:
    """Each cause is told apart, with the loader's real words: missing, folder, text, truncated, foreign."""
    whole = Path(library("whole.so"))
    data = whole.read_bytes()
    made = {
        "text.so": (b"GROUP ( /lib/x.so )", "not-a-library"),
        "empty.so": (b"", "not-a-library"),
        "short.so": (data[:20], "not-a-library"),
        "cut.so": (data[:200], "loader"),
        "arm.so": (data[:18] + (183).to_bytes(2, "little") + data[20:], "wrong-architecture"),
        "narrow.so": (data[:4] + b"\1" + data[5:], "wrong-architecture"),
        "windows.dll": (b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0\x64\xaa" + bytes(40),
                        "wrong-architecture"),
    }  # fmt: skip
    for name, (content, reason) in made.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert load_error(str(path)).facts["reason"] == reason, name
    assert load_error(f"{tmp_path}/missing.so").facts["reason"] == "missing-file"
    assert load_error(str(tmp_path)).facts["reason"] == "unreadable-file"
    assert load_error(str(whole)).facts["reason"] == "not-pkcs11"


def test_a_foreign_architecture_is_named(library: Callable[..., str]) -> None:
    """Both architectures are in the message, so that the right build can be chosen."""
    path = Path(library("m.so"))
    data = path.read_bytes()
    path.write_bytes(data[:18] + (183).to_bytes(2, "little") + data[20:])
    error = load_error(str(path))
    assert "aarch64 (64 bit)" in error.message()
    assert os.uname().machine in error.advice()


def test_a_missing_dependency_is_named(library: Callable[..., str], tmp_path: Path) -> None:
    """The library that is not installed is in the message and in the advice."""
    needed = library("libneeded-by-test.so.4", "int needed(void) { return 1; }", "-Wl,-soname,libneeded-by-test.so.4")
    module = library("m.so", "int needed(void); int f(void) { return needed(); }", "-Wl,--no-as-needed", needed)
    Path(needed).unlink()
    error = load_error(module)
    assert error.facts["reason"] == "missing-dependency"
    assert "libneeded-by-test.so.4" in error.message()
    assert "libneeded-by-test.so.4" in error.advice()


def test_an_undefined_symbol_is_named(library: Callable[..., str]) -> None:
    """Mismatched versions of driver and library are told."""
    module = library("m.so", "int lacking_symbol(void); int f(void) { return lacking_symbol(); }", "-Wl,-z,now")
    error = load_error(module)
    assert error.facts["reason"] == "missing-dependency"
    assert "lacking_symbol" in error.message()


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        ("/m.so: /lib/libc.so.6: version `GLIBC_2.99' not found (required by /m.so)", "GLIBC_2.99"),
        ("Error loading shared library libpcsclite.so.1: No such file or directory (needed by /m.so)", "libpcsclite"),
        ("dlopen(/m.dylib, 6): Library not loaded: @rpath/libcrypto.3.dylib", "@rpath/libcrypto.3.dylib"),
        ("/m.so: failed to map segment from shared object: Operation not permitted", "does not let programs run"),
        ("/m.so: something new", "something new"),
    ],
)
def test_the_words_of_other_loaders_are_understood(library: Callable[..., str], text: str, needle: str) -> None:
    """glibc's version message, musl, macOS, noexec; unknown words are passed on."""
    path = library("m.so")
    assert needle in explain_load_failure(path, OSError(text.replace("/m.so", path))).message()


PROBE = """
import ctypes, sys
class Args(ctypes.Structure):
    _fields_ = [(n, ctypes.c_void_p) for n in "abcd"] + [("flags", ctypes.c_ulong), ("r", ctypes.c_void_p)]
table = ctypes.c_void_p()
ctypes.CDLL(sys.argv[1]).C_GetFunctionList(ctypes.byref(table))
initialize = ctypes.cast(table.value + 8, ctypes.POINTER(ctypes.c_void_p))[0]
print(ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(initialize)(ctypes.byref(Args(flags=2))))
"""


@pytest.mark.parametrize(
    ("configuration", "needle"),
    [
        (None, "which cannot be read"),
        ("objectstore.backend = file\n", "names no token folder"),
        ("directories.tokendir = {tmp}/missing\n", "{tmp}/missing is missing"),
        ("directories.tokendir = {tmp}\nobjectstore.backend = db\n", "CKR_GENERAL_ERROR with the configuration"),
    ],
)
def test_softhsm_without_usable_configuration_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configuration: str | None, needle: str
) -> None:
    """SoftHSM really refuses to start like that, and the reason is found although it only says CKR_GENERAL_ERROR."""
    path = tmp_path / "softhsm2.conf"
    if configuration is not None:
        path.write_text(configuration.format(tmp=tmp_path))
    monkeypatch.setenv("SOFTHSM2_CONF", str(path))
    if configuration is None or "tokendir" in configuration:
        done = subprocess.run([sys.executable, "-c", PROBE, SOFTHSM], capture_output=True, text=True, check=True)
        assert done.stdout == "5\n"
    error = explain_initialize_failure(SOFTHSM, "CKR_GENERAL_ERROR")
    assert needle.format(tmp=tmp_path) in error.message()
    assert error.facts["reason"] == "missing-configuration"
    assert error.exit_status == 5


def test_nss_without_init_string_is_explained_before_loading(library: Callable[..., str]) -> None:
    """NSS cannot start without knowing its database; with an init string, and for other modules, nothing is said."""
    path = library("libsoftokn3.so")
    explained = explain_missing_init_string(path, None)
    assert explained is not None
    assert "configdir=" in explained.advice()
    assert explain_missing_init_string(path, "configdir='sql:/x'") is None
    assert explain_missing_init_string(SOFTHSM, None) is None
    assert "init string" in explain_initialize_failure(path, "CKR_ARGUMENTS_BAD").message()


@pytest.mark.parametrize(
    ("name", "needle"),
    [
        ("libopencryptoki.so", "pkcsslotd"), ("PKCS11_API.so", "pkcsslotd"), ("libtpm2_pkcs11.so.1", "tpm2_ptool"),
        ("p11-kit-client.so", "P11_KIT_SERVER_ADDRESS"), ("libCryptoki2_64.so", "Chrystoki.conf"),
        ("unheard-of.so", "its manual"),
    ],
)  # fmt: skip
def test_modules_that_need_a_service_say_which(name: str, needle: str) -> None:
    """The advice names what to start; for an unknown module the return value is told."""
    error = explain_initialize_failure(f"/nonexistent/{name}", "CKR_FUNCTION_FAILED")
    assert needle in error.advice()
    assert "CKR_FUNCTION_FAILED" in error.message()


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_well_known_places_are_absolute_and_name_the_main_modules(platform: str) -> None:
    """Every platform knows SoftHSM2, OpenSC and YubiKey, by full paths without placeholders."""
    places = list(candidates(platform))
    assert {"softhsm2", "opensc", "ykcs11"} <= {name for name, _ in places}
    for _, path in places:
        assert path.startswith(("/", "C:\\"))
        assert "{" not in path
