#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds what is missing, and lets testssl.sh and a fuzzer at the port of tunnels. Options: see scripts/tls/main.py --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "tls: needs root (network namespaces, BPF): run as root" >&2
    exit 1
fi
scripts/build-bpf.sh
for product in mesh-agent meshctl mesh-proxy; do
    "${SWIFT:-swift}" build --product "$product"
done
exec "${PYTHON:-/usr/bin/python3}" scripts/tls/main.py "$@"
