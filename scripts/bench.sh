#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds what is measured in release configuration and measures same-node traffic; options: see scripts/bench/main.py
# --help. With --all as the first option, everything there is to measure: see scripts/bench/suite.py --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "bench: needs root (network namespaces, BPF): run as root" >&2
    exit 1
fi
scripts/build-bpf.sh
"${SWIFT:-swift}" build -c release --product mesh-agent
"${SWIFT:-swift}" build -c release --product meshctl
"${SWIFT:-swift}" build -c release --package-path Benchmarks --product meshload
program=scripts/bench/main.py
if [ "${1:-}" = --all ]; then
    program=scripts/bench/suite.py
    shift
fi
exec "${PYTHON:-/usr/bin/python3}" "$program" "$@"
