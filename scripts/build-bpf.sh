#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Compiles the BPF objects to .build/bpf with the Swift toolchain's own clang: bpf/*/NAME.bpf.c, and the fixtures of
# the tests. Needs the headers of libbpf and of Linux; neither bpftool nor the BTF of this machine. An object is
# compiled again only if its source, a header that it includes, or the command has changed.
# Exit codes: 0 all objects are up to date, 1 a compilation failed, 2 no usable compiler.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_clang() {
    local swift candidate
    swift=$(readlink -f "$(command -v swift || true)" || true)
    for candidate in "${swift:+$(dirname "$swift")/clang}" clang; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
        # Not a pipe into grep -q: with pipefail its early end would be clang's failure.
        grep -qw bpf <<<"$("$candidate" -print-targets 2>/dev/null)" && { command -v "$candidate"; return; }
    done
    echo "build-bpf: no clang with the bpf target beside swift or on PATH; run scripts/bootstrap.sh" >&2
    return 2
}

clang=$(find_clang)
# DWARF is only needed to make BTF, which stays: two thirds of the object are not worth installing.
objcopy=$(command -v "$(dirname "$clang")/llvm-objcopy" || command -v llvm-objcopy || true)
out=.build/bpf
mkdir -p "$out"

# v3 is what Linux 5.15, the oldest supported kernel, takes on every architecture. The multiarch directory has
# asm/types.h, which Debian does not keep in /usr/include.
flags=(-target bpf -mcpu=v3 -O2 -g -Wall -Werror
    -I Sources/CMeshABI/include "-I/usr/include/$(uname -m)-linux-gnu")

# up_to_date OBJECT COMMAND: whether OBJECT was made by COMMAND from files that have not changed since.
up_to_date() {
    local object=$1 dependency
    [ -f "$object" ] && [ -f "$object.d" ] && [ "$(cat "$object.command" 2>/dev/null)" = "$2" ] || return 1
    for dependency in $(sed -e 's/^[^:]*://' -e 's/\\$//' "$object.d"); do
        [ -e "$dependency" ] && [ ! "$dependency" -nt "$object" ] || return 1
    done
}

# compile SOURCE OBJECT [FLAG...]
compile() {
    local source=$1 object=$2 command
    shift 2
    command="$clang ${flags[*]} $* ${objcopy:-unstripped}"
    up_to_date "$object" "$command" && return
    echo "build-bpf: $object"
    # Beside the object, then renamed: an interrupted build leaves no half object, and a running agent keeps the old.
    "$clang" "${flags[@]}" "$@" -MD -MF "$object.d" -MT "$object" -c "$source" -o "$object.new"
    [ -z "$objcopy" ] || "$objcopy" --strip-debug "$object.new"
    mv "$object.new" "$object"
    printf '%s' "$command" >"$object.command"
}

for source in bpf/*/*.bpf.c Tests/*/Fixtures/*.bpf.c; do
    [ -f "$source" ] || continue
    compile "$source" "$out/$(basename "$source" .c).o"
done
