#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds as scripts/bench-l7.sh does, and measures two nodes with mutual TLS between them: the mesh's proxies beside Envoys and
# HAProxys. Options: see scripts/bench/mtls.py --help.
set -euo pipefail
BENCH=mtls exec "$(dirname "${BASH_SOURCE[0]}")/bench-l7.sh" "$@"
