#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the fuzz targets of Fuzz/ with libFuzzer, which comes with the Swift toolchain.
#
#   scripts/fuzz.sh [--seconds N] [TARGET]      default: 60 seconds, every target
#
# Starts from the manifests of examples/ and of the tests, and from what earlier runs found (.build/fuzz, kept). An
# input that fails is left in .build/fuzz/TARGET-failures; give it to the target's program to see it fail again.
# Exit codes: 0 nothing failed, 1 something did or could not be built, 2 usage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=60
only=
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=${2:?--seconds needs a number}; shift 2 ;;
        -*) sed -n '4,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
        *) only=$1; shift ;;
    esac
done

targets=(FuzzManifests)
for target in "${targets[@]}"; do
    [ -z "$only" ] || [ "$only" = "$target" ] || continue
    swift build --package-path Fuzz --scratch-path .build/fuzz-build --sanitize fuzzer --product "$target"
    corpus=.build/fuzz/$target
    failures=.build/fuzz/$target-failures
    mkdir -p "$corpus" "$failures"
    mapfile -t seeds < <(find examples Tests -name '*.yaml' -printf '%h\n' | sort -u)
    printf 'fuzz: %s for %d seconds, from %d inputs of earlier runs and %d directories of manifests\n' \
        "$target" "$seconds" "$(find "$corpus" -type f | wc -l)" "${#seeds[@]}"
    log=$(mktemp)
    if ! ".build/fuzz-build/debug/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 \
        -dict=Fuzz/manifests.dict -artifact_prefix="$failures/" -print_final_stats=1 "$corpus" "${seeds[@]}" \
        >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        printf 'fuzz: %s failed; the input is in %s\n' "$target" "$failures" >&2
        rm -f "$log"
        exit 1
    fi
    grep -E 'stat::|^#[0-9]+.*DONE' "$log"
    rm -f "$log"
done
