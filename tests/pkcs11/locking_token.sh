#!/bin/sh
# Runs "$@" beside a fresh opencryptoki software token, the one real token here that locks its PIN. Its state, its lock
# files and its shared memory are private to this process tree (mount, IPC and PID namespaces), so nothing of the
# machine's own opencryptoki is touched and the daemon dies with the command. Needs root.
set -eu
if [ "${1:-}" != inside ]; then
    exec unshare --mount --ipc --pid --fork --mount-proc "$0" inside "$@"
fi
shift
mount -t tmpfs tmpfs /var/lib/opencryptoki
mount -t tmpfs tmpfs "$(readlink -f /var/lock)"
mkdir -p /var/lib/opencryptoki/swtok/TOK_OBJ /var/lock/opencryptoki/swtok
chgrp -R pkcs11 /var/lib/opencryptoki /var/lock/opencryptoki
chmod -R 770 /var/lib/opencryptoki /var/lock/opencryptoki
pkcsslotd
"$@"
