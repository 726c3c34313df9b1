#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds what is missing and moves checked traffic through meshed pods. Options: see scripts/soak/main.py --help. With --l7
# as the first option, checked requests through the node's proxy: see scripts/soak/l7.py --help. With BUILT=yes the mesh
# itself is taken as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "soak: needs root (network namespaces, BPF): run as root" >&2
    exit 1
fi
if [ "${BUILT:-}" != yes ]; then
    scripts/build-bpf.sh
    for product in mesh-agent meshctl mesh-proxy; do
        "${SWIFT:-swift}" build --product "$product"
    done
fi
if [ "${1:-}" = --l7 ]; then
    shift
    exec "${PYTHON:-/usr/bin/python3}" scripts/soak/l7.py "$@"
fi
"${SWIFT:-swift}" build -c release --package-path Benchmarks --product meshload
exec "${PYTHON:-/usr/bin/python3}" scripts/soak/main.py "$@"
