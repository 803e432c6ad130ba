# Sourced by every script beside it. Brings what is missing and nothing else: system packages, .venv, the locked
# dependencies, the project itself. Leaves the shell at the top of the project with .venv first on its PATH.
set -eu
cd "$(dirname "$0")/.."

missing_packages() {
    while read -r command package; do
        command -v "$command" >/dev/null || echo "$package"
    done <<EOF
softhsm2-util softhsm2
pkcs11-tool opensc
p11tool gnutls-bin
p11-kit p11-kit
openssl openssl
gcc gcc
swig swig
EOF
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    [ -e /usr/include/PCSC/winscard.h ] || echo libpcsclite-dev
    [ -n "$(ls /usr/lib/*/pkcs11/p11-kit-client.so 2>/dev/null)" ] || echo p11-kit-modules
    [ -e /usr/sbin/pkcsslotd ] || echo opencryptoki
    [ -n "$(suitable_python)" ] || echo python3-venv
    has_headers || echo python3-dev
    [ -z "${for_tests:-}" ] || missing_test_packages
}

# The modules, daemons and readers that only tests and benchmarks talk to.
missing_test_packages() {
    while read -r file package; do
        ls $file >/dev/null 2>&1 || echo "$package"
    done <<END
/usr/sbin/pcscd pcscd
/usr/lib/pcsc/drivers/serial/libifdvpcd.so* vsmartcard-vpcd
/usr/lib/*/pkcs11/opensc-pkcs11.so opensc-pkcs11
/usr/lib/*/libykcs11.so* ykcs11
/usr/bin/swtpm swtpm
/usr/bin/tpm2_dictionarylockout tpm2-tools
/usr/sbin/tpm2-abrmd tpm2-abrmd
/usr/bin/tpm2_ptool libtpm2-pkcs11-tools
/usr/lib/*/pkcs11/libtpm2_pkcs11.so* libtpm2-pkcs11-1
/usr/lib/*/libtss2-tcti-tabrmd.so* libtss2-tcti-tabrmd0
/usr/lib/*/libtss2-tcti-swtpm.so* libtss2-tcti-swtpm0
/usr/bin/dbus-daemon dbus
/usr/bin/certutil libnss3-tools
/usr/lib/*/libsoftokn3.so libnss3
/usr/bin/ssh openssh-client
/usr/sbin/sshd openssh-server
/usr/bin/git git
/usr/lib/postgresql/*/bin/postgres postgresql
/usr/lib/*/engines-3/pkcs11.so libengine-pkcs11-openssl
/usr/bin/oathtool oathtool
/usr/bin/pskctool pskctool
/usr/bin/zbarimg zbar-tools
/usr/bin/pdftotext poppler-utils
/usr/share/poppler poppler-data
END
}

suitable_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
}

# What compiles a package that comes without a wheel: the headers of the Python that is used, or of the one to come.
has_headers() {
    "$(suitable_python)" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null
}

install_packages() {
    install="apt-get install -y --no-install-recommends $*"
    if ! command -v apt-get >/dev/null; then
        echo "Install these first (Debian's names), with Python 3.11 or newer: $*" >&2
        exit 1
    elif [ "$(id -u)" = 0 ]; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive $install -qq >/dev/null
    elif command -v sudo >/dev/null && sudo apt-get update -qq; then
        sudo DEBIAN_FRONTEND=noninteractive $install -qq >/dev/null
    else
        echo "Run this as root, then try again: apt-get update && $install" >&2
        exit 1
    fi
}

packages=$(missing_packages)
if [ -n "$packages" ]; then
    echo "Missing system packages:" $packages >&2
    install_packages $packages
    [ -z "$(missing_packages)" ] || { echo "Still missing:" $(missing_packages) >&2; exit 1; }
fi

.venv/bin/python -c '' 2>/dev/null || "$(suitable_python)" -m venv --clear .venv
stamp=$( (pwd; cat requirements.lock pyproject.toml; find src -name '*.po' -exec cat {} +) | sha256sum)
if [ "$stamp" != "$(cat .venv/.stamp 2>/dev/null)" ]; then
    echo "Installing the locked Python packages into .venv" >&2
    .venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
    echo "$stamp" >.venv/.stamp
fi
PATH="$PWD/.venv/bin:$PATH"
