# Shared by the scripts beside this file; sourced, not run.
# Sets ROOT (the repository) and TARGET (where cargo builds), and changes to ROOT.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
case $TARGET in /*) ;; *) TARGET=$ROOT/$TARGET ;; esac
# Debian's Postfix, unpacked and never installed; the tests look for it here too.
PEERS=$TARGET/peers
export RINGPOST_PEERS=$PEERS
cd "$ROOT"

say() { printf '==> %s\n' "$*" >&2; }

# fail STATUS TEXT…: the statuses are those of sysexits.h (69: something needed is not there).
fail() {
    local status=$1
    shift
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit "$status"
}

# need COMMAND PACKAGE: ends the script unless COMMAND is on the path.
need() {
    command -v "$1" >/dev/null 2>&1 || fail 69 "needs '$1': on Debian, apt-get install $2"
}

need_toolchain() {
    if ! command -v cargo >/dev/null 2>&1; then
        fail 69 "needs 'cargo', Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer: install rustup (package rustup, or the installer that the Rust project's site names), then 'rustup default stable'"
    fi
    need cc gcc
    need make make
    # The load generator's glommio carries liburing; its build script calls git, sh and cc.
    need git git
    if ! echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1; then
        fail 69 "'cc' finds no C headers: on Debian, apt-get install libc6-dev"
    fi
}

# free_port: a TCP port on 127.0.0.1 that nobody listens on now, below the range of outgoing connections.
free_port() {
    local port tries
    for tries in $(seq 100); do
        port=$((10000 + RANDOM % 20000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    fail 75 "found no free port on 127.0.0.1"
}

# build_release PACKAGE…: builds these packages' release binaries into $TARGET/release.
build_release() {
    local package packages=()
    for package in "$@"; do packages+=(-p "$package"); done
    CARGO_TARGET_DIR=$TARGET cargo build --release --locked "${packages[@]}"
}

# make_postfix_accounts: the user and the group that a private Postfix wants; as root.
make_postfix_accounts() {
    need useradd passwd
    getent group postdrop >/dev/null || groupadd --system postdrop
    getent passwd postfix >/dev/null ||
        useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin postfix
}
