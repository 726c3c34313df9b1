#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the fuzz targets of Fuzz/ with libFuzzer, which comes with the Swift toolchain.
#
#   scripts/fuzz.sh [--seconds N | --each N] [TARGET]      default: --seconds 60, shared by all targets; --each: for each
#
# Starts from seeds (the manifests of examples/ and of the tests; Fuzz/seeds) and from what earlier runs found
# (.build/fuzz, kept). An input that fails is left in .build/fuzz/TARGET-failures; give it to the target's program to
# see it fail again.
# Exit codes: 0 nothing failed, 1 something did or could not be built, 2 usage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=60
each=
only=
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=${2:?--seconds needs a number}; shift 2 ;;
        --each) each=${2:?--each needs a number}; shift 2 ;;
        -*) sed -n '4,13s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
        *) only=$1; shift ;;
    esac
done

targets=(FuzzManifests FuzzHTTP1 FuzzHTTP2 FuzzProxyProtocol FuzzIdentity FuzzHBONE FuzzAdmin FuzzFields)
[ -z "$only" ] || targets=("$only")
share=${each:-$((seconds / ${#targets[@]}))}
[ "$share" -gt 0 ] || share=1

# Prints the directories of seeds of target $1, and its dictionary.
seeds_of() {
    case $1 in
        FuzzManifests) find examples Tests -name '*.yaml' -printf '%h\n' | sort -u ;;
        *) printf '%s\n' "Fuzz/seeds/$1" ;;
    esac
}
dictionary_of() {
    case $1 in
        FuzzManifests) printf 'Fuzz/manifests.dict' ;;
        FuzzHTTP1) printf 'Fuzz/http1.dict' ;;
        FuzzHTTP2) printf 'Fuzz/http2.dict' ;;
        FuzzProxyProtocol) printf 'Fuzz/proxy.dict' ;;
        FuzzIdentity) printf 'Fuzz/identity.dict' ;;
        FuzzFields) printf 'Fuzz/fields.dict' ;;
        FuzzAdmin) printf 'Fuzz/admin.dict' ;;
        FuzzHBONE) printf 'Fuzz/hbone.dict' ;;
        *) printf 'fuzz: there is no target %s\n' "$1" >&2; return 2 ;;
    esac
}

# All in one go: what they share is compiled beside what they do not.
MESH_FUZZ=yes swift build --package-path Fuzz --scratch-path .build/fuzz-build --sanitize fuzzer ${only:+--product "$only"}
for target in "${targets[@]}"; do
    dictionary=$(dictionary_of "$target") || exit 2
    corpus=.build/fuzz/$target
    failures=.build/fuzz/$target-failures
    mkdir -p "$corpus" "$failures"
    mapfile -t seeds < <(seeds_of "$target")
    printf 'fuzz: %s for %d seconds, from %d inputs of earlier runs and %d directories of seeds\n' \
        "$target" "$share" "$(find "$corpus" -type f | wc -l)" "${#seeds[@]}"
    log=$(mktemp)
    # Swift's own handler of crashes would end the program before libFuzzer has written the input down.
    if ! SWIFT_BACKTRACE=enable=no ".build/fuzz-build/debug/$target" -max_total_time="$share" -timeout=10 -rss_limit_mb=2048 -max_len=16384 \
        -dict="$dictionary" -artifact_prefix="$failures/" -print_final_stats=1 "$corpus" "${seeds[@]}" \
        >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        printf 'fuzz: %s failed; the input is in %s\n' "$target" "$failures" >&2
        rm -f "$log"
        exit 1
    fi
    grep -E 'stat::|^#[0-9]+.*DONE' "$log"
    rm -f "$log"
done
