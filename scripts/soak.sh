#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds what is missing and moves checked traffic through meshed pods. Options: see scripts/soak/main.py --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "soak: needs root (network namespaces, BPF): run as root" >&2
    exit 1
fi
scripts/build-bpf.sh
"${SWIFT:-swift}" build --product mesh-agent
"${SWIFT:-swift}" build --product meshctl
"${SWIFT:-swift}" build -c release --package-path Benchmarks --product meshload
exec "${PYTHON:-/usr/bin/python3}" scripts/soak/main.py "$@"
