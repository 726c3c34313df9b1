#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fails when a module imports what its layer may not. Dependencies point at values: model <- mechanism <- composition.
# A line of the table is a directory of Sources/ and all that its files may import.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# MeshModel, LinuxIO, SockOps, L7Proxy and what the proxy's process is made of go without Foundation: they are on the
# path of every verdict, every start and every request. L7Proxy and ProxyProcess belong to the proxy's process:
# MeshAgent does not have them.
allowed='
MeshModel      Synchronization
MeshManifests  MeshModel Yams Foundation FoundationEssentials Glibc
LinuxIO        CLinux Glibc Synchronization
SockOps        CLibBPF CMeshABI LinuxIO Glibc Synchronization
L7Proxy        MeshModel LinuxIO Identity TLSEngine Synchronization
MeshVersion
Identity       Glibc
TLSEngine      CIPSecMB COpenSSL Identity Synchronization
IdentityProviders Identity TLSEngine LinuxIO FoundationEssentials Glibc
ProxyProtocol  MeshModel LinuxIO
SocketFactory  ProxyProtocol MeshModel LinuxIO Glibc
ProxyProcess   ProxyProtocol L7Proxy TLSEngine Identity MeshModel LinuxIO CMeshABI Glibc Synchronization
MeshAdmin      LinuxIO Foundation FoundationEssentials Glibc
MeshAgent      MeshModel MeshManifests MeshAdmin MeshVersion ProxyProtocol Identity TLSEngine IdentityProviders LinuxIO SockOps CMeshABI Logging Foundation FoundationEssentials Glibc Synchronization
mesh-agent     MeshAgent MeshAdmin MeshVersion SocketFactory LinuxIO ArgumentParser Logging Foundation FoundationEssentials Glibc
mesh-proxy     ProxyProcess ProxyProtocol L7Proxy TLSEngine MeshVersion LinuxIO ArgumentParser Glibc
meshctl        MeshAgent MeshAdmin MeshVersion LinuxIO ArgumentParser Logging Yams Foundation FoundationEssentials Glibc
'

# C is quarantined: each C module and the modules that may import it.
c_importers='
CIPSecMB       TLSEngine
CLibBPF        SockOps
CLinux         LinuxIO
CMeshABI       SockOps MeshAgent ProxyProcess
COpenSSL       TLSEngine
'

# Headers that a BPF program may include besides its own: the compiler's and the kernel's user API, never a generated
# vmlinux.h.
bpf_headers='^(std(bool|def|int)\.h|linux/(bpf|types|in|in6|socket|tcp|stddef|if_ether|ip|ipv6|udp)\.h|bpf/bpf_(helpers|endian|core_read|tracing)\.h|mesh_abi\.h)$'

violations=0
complain() {
    printf '%s\n' "$*" >&2
    violations=$((violations + 1))
}

# Prints "file:line module" for each import of a Swift file below $1.
imports() {
    grep -rnE --include='*.swift' \
        '^[[:space:]]*(@[A-Za-z_]+(\([^)]*\))?[[:space:]]+)*((public|package|internal|private|fileprivate)[[:space:]]+)?import[[:space:]]' "$1" |
        sed -E 's/^([^:]+:[0-9]+):.*import[[:space:]]+((struct|class|enum|func|typealias|protocol|let|var)[[:space:]]+)?([A-Za-z_0-9]+).*/\1 \4/'
}

check_sources() {
    local directory module line where imported
    for directory in Sources/*/; do
        module=$(basename "$directory")
        find "$directory" -name '*.swift' -print -quit | grep -q . || continue
        line=$(awk -v m="$module" '$1 == m { $1 = ""; print }' <<<"$allowed")
        if ! awk -v m="$module" '$1 == m { found = 1 } END { exit !found }' <<<"$allowed"; then
            complain "$directory: the layering table of scripts/check-layering.sh does not have this module; add it"
            continue
        fi
        while read -r where imported; do
            [ -n "$imported" ] || continue
            case " $line " in
                *" $imported "*) ;;
                *) complain "$where: $module may not import $imported (it may import:$line)" ;;
            esac
        done < <(imports "$directory")
    done
}

check_c_importers() {
    local c_module importers where imported module
    while read -r c_module importers; do
        [ -n "$c_module" ] || continue
        while read -r where imported; do
            [ "$imported" = "$c_module" ] || continue
            module=$(cut -d/ -f2 <<<"$where")
            case " $importers " in
                *" $module "*) ;;
                *) complain "$where: $c_module has one importer, $importers; use that module's API" ;;
            esac
        done < <(imports Sources)
    done <<<"$c_importers"
}

check_bpf_headers() {
    local file line header
    [ -d bpf ] || return 0
    while IFS=: read -r file line header; do
        header=$(sed -E 's/.*#[[:space:]]*include[[:space:]]*[<"]([^>"]+)[>"].*/\1/' <<<"$header")
        [ ! -e "$(dirname "$file")/$header" ] || continue
        grep -qE "$bpf_headers" <<<"$header" || complain "$file:$line: a BPF program may not include $header"
    done < <(grep -rnE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include' bpf || true)
}

# What the packages declare must not be wider than the table either: a target may only depend on what it may import.
check_abi_is_shared() {
    [ -d bpf/sockmap ] || return 0
    grep -rqE --include='*.[ch]' '#[[:space:]]*include[[:space:]]*[<"]mesh_abi\.h[>"]' bpf/sockmap ||
        complain "bpf/sockmap: nothing includes mesh_abi.h; the layout of the maps has one definition"
}

check_sources
check_c_importers
check_bpf_headers
check_abi_is_shared
if [ "$violations" -ne 0 ]; then
    printf 'check-layering: %d violation(s)\n' "$violations" >&2
    exit 1
fi
printf 'check-layering: ok\n'
