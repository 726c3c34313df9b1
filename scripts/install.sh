#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs a release build: $DESTDIR$PREFIX/bin/{mesh-agent,mesh-proxy,meshctl} and $DESTDIR$PREFIX/lib/sockmesh/*.bpf.o.
# The programs find the BPF object, and the agent its proxy, relative to themselves, so PREFIX may be anything.
#
#   PREFIX=/usr/local DESTDIR= scripts/install.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}
build=.build/release

for file in "$build/mesh-agent" "$build/mesh-proxy" "$build/meshctl" .build/bpf/sockmap.bpf.o; do
    [ -e "$file" ] || { printf 'install: %s is missing; run `make install`, which builds it first\n' "$file" >&2; exit 1; }
done

install -d "$root$prefix/bin" "$root$prefix/lib/sockmesh"
install -m 755 "$build/mesh-agent" "$build/mesh-proxy" "$build/meshctl" "$root$prefix/bin/"
for source in bpf/*/*.bpf.c; do
    install -m 644 ".build/bpf/$(basename "$source" .c).o" "$root$prefix/lib/sockmesh/"
done
printf 'installed %s/bin/{mesh-agent,mesh-proxy,meshctl} and %s/lib/sockmesh/\n' "$root$prefix" "$root$prefix"
completions="$root$prefix/share/bash-completion/completions"
install -d "$completions"
"$build/meshctl" --generate-completion-script bash >"$completions/meshctl"
printf 'installed the bash completion of meshctl\n'
