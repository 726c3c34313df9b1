#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# All checks that need no build: format, file length, licence lines, words, shell and Python syntax, links, and the
# tests that docs name. Prints every finding as file:line and exits non-zero if there is one. Works offline and
# without root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

maximum_lines=400
findings=0
complain() {
    printf '%s\n' "$*" >&2
    findings=$((findings + 1))
}

# Files of the repository, as git sees them: tracked, or new and not ignored.
files() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [ ! -f "$f" ] || printf '%s\n' "$f"; done; }

check_format() {
    local swift_files
    mapfile -t swift_files < <(files '*.swift')
    swift format lint --strict --parallel --configuration .swift-format "${swift_files[@]}" ||
        complain "swift format: findings above; \`make format\` repairs most of them"
}

check_length() {
    local file lines
    while read -r file; do
        lines=$(wc -l <"$file")
        [ "$lines" -le "$maximum_lines" ] || complain "$file: $lines lines, more than $maximum_lines: split it by noun"
    done < <(files 'Sources/*.swift' 'Tests/*.swift' 'Benchmarks/*.swift' 'Fuzz/*.swift' 'bpf/*.[ch]' 'Sources/*.c' \
        'scripts/*' 'Tests/*.py' | grep -v '/Fixtures/')
}

check_licence_lines() {
    local file
    while read -r file; do
        head -n 4 "$file" | grep -q 'SPDX-License-Identifier: ' || complain "$file: no SPDX-License-Identifier in its first lines"
    done < <(files '*.swift' '*.[ch]' '*.sh' '*.py' 'scripts/*' '.ci/run' 'Makefile' | grep -vE '(^|/)Package.swift$')
}

# Words that stand for unfinished work, or for one developer's machine. The first pattern is written so that this
# file does not match itself.
check_words() {
    local pattern='\b(TO''DO|FIX''ME|XX''X|HA''CK)\b|fatalError\("?(un|not )implemented|/(home|root|work)/[a-z]'
    if git grep -nIE "$pattern" -- ':!LICENSE' ':!LICENSES' ':!scripts/lint.sh' >&2; then
        complain "the lines above hold a word that must not be in the repository"
    fi
    local hits
    hits=$(git grep -nE '@unchecked Sendable|nonisolated\(unsafe\)' -- 'Sources/*.swift' || true)
    while IFS=: read -r file line _; do
        [ -n "$file" ] || continue
        sed -n "$((line > 4 ? line - 4 : 1)),$((line))p" "$file" | grep -q '//' ||
            complain "$file:$line: say in a comment which lock or thread makes this safe"
    done <<<"$hits"
}

check_scripts() {
    local file scripts pythons
    mapfile -t scripts < <(files 'scripts/*' '.ci/run' 'examples/*.sh' | while read -r f; do
        head -n 1 "$f" | grep -qE '^#!.*(ba)?sh$' && printf '%s\n' "$f" || true; done)
    for file in "${scripts[@]}"; do
        bash -n "$file" || complain "$file: bash -n refused it"
        [ -x "$file" ] || complain "$file: not executable"
    done
    mapfile -t pythons < <(files '*.py')
    for file in "${pythons[@]}"; do
        "${PYTHON:-/usr/bin/python3}" -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$file" ||
            complain "$file: not valid Python"
    done
}

check_links() {
    local file target
    while IFS=: read -r file target; do
        target=${target#*](}
        target=${target%%[)#]*}
        [ -z "$target" ] || [ -e "$(dirname "$file")/$target" ] || complain "$file: broken link to $target"
    done < <(files '*.md' | xargs -r grep -oHE '\]\([^)]*\)' | grep -vE '\]\((https?:|mailto:|#)' || true)
}

check_format
check_length
check_licence_lines
check_words
check_scripts
check_links
scripts/check-named-tests.sh || complain "named tests: findings above"
if [ "$findings" -ne 0 ]; then
    printf 'lint: %d finding(s)\n' "$findings" >&2
    exit 1
fi
printf 'lint: ok\n'
