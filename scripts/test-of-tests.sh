#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows that the tests can fail: builds the kernel programs with the virgin latch taken out, so that bytes may be
# redirected past bytes that went by TCP, and runs the ordering tests over them. They must fail within a minute.
# Needs what `make build` has built, and root.
# Exit codes: 0 the broken build was caught, 1 it was not, 2 it could not be tried.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit=60
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/tree/scripts" "$work/tree/Sources"

for program in mesh-agent meshctl; do
    cp -L ".build/debug/$program" "$work/bin/" || { echo "test-of-tests: run make build first" >&2; exit 2; }
done
cp -r bpf "$work/tree/"
cp -r Sources/CMeshABI "$work/tree/Sources/"
cp scripts/build-bpf.sh "$work/tree/scripts/"

source=$work/tree/bpf/sockmap/verdict.h
sed -i '/LATCH:/,/return MESH_REASON_NOT_VIRGIN/d' "$source"
if cmp -s "$source" bpf/sockmap/verdict.h || grep -q MESH_REASON_NOT_VIRGIN "$source"; then
    echo "test-of-tests: the latch was not found in bpf/sockmap/verdict.h; mend this script" >&2
    exit 2
fi
"$work/tree/scripts/build-bpf.sh" >/dev/null
mv "$work/tree/.build/bpf" "$work/bpf"

started=$SECONDS
status=0
MESH_BUILD="$work/bin" timeout "$limit" "${PYTHON:-/usr/bin/python3}" -m pytest -x -q --modes enabled \
    Tests/Integration/test_order.py >"$work/log" 2>&1 || status=$?
case $status in
1)
    echo "test-of-tests: a build without the latch was caught in $((SECONDS - started)) s:"
    grep -E '^(FAILED|ERROR|E  )' "$work/log" | head -5 || true
    ;;
0)
    echo "test-of-tests: the tests passed over a build without the latch" >&2
    exit 1
    ;;
*)
    echo "test-of-tests: pytest ended with $status (124: not within $limit s)" >&2
    tail -30 "$work/log" >&2
    exit 2
    ;;
esac
