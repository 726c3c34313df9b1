#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fails if a rule or limit of the proxy is documented without a test, or with one that does not exist. Looks at every
# row of the tables in docs/http-rules.md, and of the sections of docs/limits.md about requests and HTTP/2. A test is
# written `Suite.name`, with the case of its table as `Suite.name("case")`, or `file.py::name` of Tests/Integration.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

a_test='`[A-Za-z0-9]+Tests\.[A-Za-z0-9_]+(\("[^`]+"\))?`|`test_[a-z0-9_]+\.py::test_[a-z0-9_]+`'
findings=0
complain() {
    printf '%s\n' "$*" >&2
    findings=$((findings + 1))
}

# Rows of tables, as line:text, without their headings and rules.
rows() { grep -nE '^\|' "$1" | grep -vE '^[0-9]+:\|[- |]+\|$|^[0-9]+:\| (rule|limit) \|'; }

# Rows of file $1 between the heading that $2 matches and the next one.
rows_of_section() {
    local first last
    first=$(grep -nE "^## $2\$" "$1" | cut -d: -f1)
    [ -n "$first" ] || { complain "$1: no section '$2'"; return 0; }
    last=$(awk -v first="$first" 'NR > first && /^## / { print NR; exit }' "$1")
    rows "$1" | awk -F: -v first="$first" -v last="${last:-1000000}" '$1 > first && $1 < last'
}

check_swift() {
    local place=$1 test=$2 suite name case files file
    suite=${test%%.*}
    name=${test#*.}
    case=
    if [[ $name == *'("'*'")' ]]; then
        case=${name#*\(\"}
        case=${case%\"\)}
        name=${name%%\(*}
    fi
    mapfile -t files < <(grep -rlE "\b(struct|class|enum|extension) $suite\b" Tests --include='*.swift')
    for file in "${files[@]}"; do
        if grep -qE "\bfunc $name\(" "$file"; then
            [ -z "$case" ] || grep -qF "\"$case\"" "$file" || complain "$place: $suite.$name has no case \"$case\""
            return 0
        fi
    done
    complain "$place: there is no test $suite.$name"
}

check_python() {
    local place=$1 file=${2%%::*} name=${2##*::}
    grep -qsE "^def $name\(" "Tests/Integration/$file" || complain "$place: there is no test $2"
}

check_rows() {
    local file=$1 line text tests test
    while IFS=: read -r line text; do
        mapfile -t tests < <(grep -oE "$a_test" <<<"$text" | tr -d '`')
        [ "${#tests[@]}" -gt 0 ] || complain "$file:$line: names no test"
        for test in "${tests[@]}"; do
            case $test in
                *.py::*) check_python "$file:$line" "$test" ;;
                *) check_swift "$file:$line" "$test" ;;
            esac
        done
    done
}

check_rows docs/http-rules.md < <(rows docs/http-rules.md)
check_rows docs/limits.md < <(rows_of_section docs/limits.md 'Requests through the proxy')
check_rows docs/limits.md < <(rows_of_section docs/limits.md 'HTTP\/2')
if [ "$findings" -ne 0 ]; then
    printf 'named-tests: %d finding(s)\n' "$findings" >&2
    exit 1
fi
printf 'named-tests: ok\n'
