#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows that the tests can fail: builds the kernel programs with one of the conditions taken out that keep bytes in order
# and whole, and runs the tests of order over them. Each broken build must be caught, that without the latch within a minute.
# Needs what `make build` has built, and root.
# Exit codes: 0 the broken builds were caught, 1 one was not, 2 it could not be tried.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin"
for program in mesh-agent meshctl; do
    cp -L ".build/debug/$program" "$work/bin/" || { echo "test-of-tests: run make build first" >&2; exit 2; }
done

# caught SECONDS NAME FILE EDIT TEST: builds bpf/sockmap/FILE after the sed command EDIT, under which TEST must fail.
caught() {
    local limit=$1 name=$2 file=$3 edit=$4 test=$5 started status=0 tree=$work/tree
    rm -rf "$tree" "$work/bpf"
    mkdir -p "$tree/scripts" "$tree/Sources"
    cp -r bpf "$tree/"
    cp -r Sources/CMeshABI "$tree/Sources/"
    cp scripts/build-bpf.sh "$tree/scripts/"
    sed -i "$edit" "$tree/bpf/sockmap/$file"
    if cmp -s "$tree/bpf/sockmap/$file" "bpf/sockmap/$file"; then
        echo "test-of-tests: $name was not found in bpf/sockmap/$file; mend this script" >&2
        exit 2
    fi
    "$tree/scripts/build-bpf.sh" >/dev/null
    mv "$tree/.build/bpf" "$work/bpf"

    started=$SECONDS
    MESH_BUILD="$work/bin" MESH_STRESS_SECONDS=$((limit - 10)) timeout "$limit" "${PYTHON:-/usr/bin/python3}" -m pytest -x -q --modes enabled \
        "Tests/Integration/$test" >"$work/log" 2>&1 || status=$?
    case $status in
    1)
        echo "test-of-tests: a build without $name was caught in $((SECONDS - started)) s:"
        grep -E '^(FAILED|ERROR|E  )' "$work/log" | head -5 || true
        ;;
    0)
        echo "test-of-tests: the tests passed over a build without $name" >&2
        exit 1
        ;;
    *)
        echo "test-of-tests: pytest ended with $status (124: not within $limit s)" >&2
        tail -30 "$work/log" >&2
        exit 2
        ;;
    esac
}

caught 60 "the latch" verdict.h '/LATCH:/,/return MESH_REASON_NOT_VIRGIN/d' test_order.py
# It loses something about every ten seconds: within a minute it would get through now and then.
caught 400 "the wait for messages under way" member.h 's/ \&\& calls_under_way(psock))/ \&\& false)/' \
    test_under_way.py::test_connections_that_talk_both_ways_at_once
