#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages that are missing and checks this machine.
#
#   scripts/bootstrap.sh            what `make build` needs
#   scripts/bootstrap.sh --demo     and what `make demo` runs: nginx, redis, a Python client
#   scripts/bootstrap.sh --test     and what `make test` runs
#   scripts/bootstrap.sh --tls      and what `make tls` runs: testssl.sh
#   scripts/bootstrap.sh --kernels  and what `make kernels` runs: QEMU; it downloads the kernels itself
#   scripts/bootstrap.sh --bench    and what `make bench` runs
#   scripts/bootstrap.sh --bench-l7 and what `make bench-l7` and `make bench-mtls` run, but Envoy, which scripts/bench-l7.sh installs
#
# It installs nothing that is there already, leaves no service running, and says what it does. It mounts the BPF file
# system at /sys/fs/bpf where that is missing. Exit codes: 0 ready, 1 a finding has to be remedied first, 2 usage.
set -euo pipefail

build_packages=(libbpf-dev libelf-dev zlib1g-dev linux-libc-dev libssl-dev pkg-config)
# What makes records of TLS faster, on the one architecture that it is for.
if [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ]; then build_packages+=(libipsec-mb-dev); fi
demo_packages=(iproute2 procps nginx-light redis-server python3 python3-yaml python3-h2 python3-cryptography)
test_packages=("${demo_packages[@]}" python3-pytest python3-pytest-xdist python3-h11 python3-grpcio
    python3-prometheus-client libnghttp2-dev nghttp2-client nghttp2-server nodejs apache2 ethtool curl openssl)
bench_packages=(iproute2 procps python3 python3-yaml ethtool)
bench_l7_packages=("${bench_packages[@]}" nginx-light haproxy wrk nghttp2-client curl binutils python3-venv python3-h2
    python3-cryptography openssl)
tls_packages=(iproute2 procps python3 python3-yaml python3-cryptography python3-h2 openssl testssl.sh)
kernels_packages=(qemu-system-x86 cpio kmod binutils iproute2 util-linux python3 python3-yaml)
minimum_swift=6.3
minimum_kernel=5.18

failures=0
ok() { printf 'ok       %s\n' "$*"; }
note() { printf '%-8s %s\n' "$1" "$2"; }
fail() { # finding, remedy
    printf 'FAILED   %s\n         remedy: %s\n' "$1" "$2" >&2
    failures=$((failures + 1))
}

# Whether version $1 is at least $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1)" = "$2" ]; }

missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || printf '%s\n' "$package"
    done
}

# Installs packages without starting the services that some of them bring: a policy that answers 101 is how Debian
# says "do not start". An existing policy of the machine's owner stays as it is.
install_packages() {
    local policy=/usr/sbin/policy-rc.d log ours=no
    log=$(mktemp)
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    local status=0
    {
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" ||
            { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }
    } >"$log" 2>&1 || status=$?
    [ "$ours" = no ] || rm -f "$policy"
    if [ "$status" -ne 0 ]; then
        tail -n 15 "$log" >&2
        fail "apt-get install $* failed with status $status (above: its last lines)" \
            "install them by hand, or repair the package sources and run this again"
    fi
    rm -f "$log"
}

check_packages() {
    local missing
    if ! command -v dpkg-query >/dev/null; then
        fail "this is not a Debian system: dpkg-query is missing" \
            "install what provides: $* (see CONTRIBUTING.md), then run the make target with BOOTSTRAP=no"
        return
    fi
    mapfile -t missing < <(missing_packages "$@")
    if [ "${#missing[@]}" -eq 0 ]; then
        ok "Debian packages: all $# are installed"
    elif [ "$(id -u)" -ne 0 ]; then
        fail "missing Debian packages: ${missing[*]}" "run as root: apt-get install ${missing[*]}"
    else
        note install "Debian packages (services are not started): ${missing[*]}"
        install_packages "${missing[@]}"
    fi
}

check_toolchain() {
    local version clang
    if ! command -v swift >/dev/null; then
        fail "swift is not on PATH" "install Swift $minimum_swift or newer from https://www.swift.org/install/linux/"
        return
    fi
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9.]*\).*/\1/p' | head -n1)
    if at_least "${version:-0}" "$minimum_swift"; then
        ok "swift $version"
    else
        fail "swift ${version:-of an unknown version} is too old" "install Swift $minimum_swift or newer"
    fi
    clang="$(dirname "$(readlink -f "$(command -v swift)")")/clang"
    [ -x "$clang" ] || clang=$(command -v clang || true)
    # Not a pipe into grep -q: with pipefail its early end would be clang's failure.
    if [ -n "$clang" ] && grep -qw bpf <<<"$("$clang" -print-targets 2>/dev/null)"; then
        ok "$clang has the bpf target"
    else
        fail "no clang with the bpf target beside swift or on PATH" "install clang (Debian: apt-get install clang)"
    fi
}

check_kernel() {
    local release
    release=$(uname -r)
    if at_least "$release" "$minimum_kernel"; then
        ok "kernel $release"
    else
        fail "kernel $release is older than $minimum_kernel" "boot a newer kernel; docs/compatibility.md has the table"
    fi
    if [ -r /sys/kernel/btf/vmlinux ]; then
        ok "the kernel describes its types: /sys/kernel/btf/vmlinux"
    else
        fail "/sys/kernel/btf/vmlinux is missing" "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    fi
}

check_root_and_mounts() {
    local cgroup2
    if [ "$(id -u)" -ne 0 ]; then
        fail "not root" "run as root: network namespaces and BPF need it"
        return
    fi
    ok "root"
    cgroup2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    if [ -n "$cgroup2" ]; then
        ok "cgroup2 at $cgroup2"
    else
        fail "no cgroup2 file system is mounted" "mkdir -p /run/cgroup2 && mount -t cgroup2 none /run/cgroup2"
    fi
    if grep -q ' /sys/fs/bpf bpf ' /proc/mounts; then
        ok "BPF file system at /sys/fs/bpf"
    elif mount -t bpf bpf /sys/fs/bpf 2>/dev/null; then
        note mounted "the BPF file system at /sys/fs/bpf"
    else
        fail "cannot mount the BPF file system" "mount -t bpf bpf /sys/fs/bpf"
    fi
    if unshare --net true 2>/dev/null; then
        ok "network namespaces can be made"
    else
        fail "cannot make a network namespace" "run outside the container, or give it CAP_SYS_ADMIN"
    fi
}

main() {
    case "${1:-}" in
        "") check_packages "${build_packages[@]}" ;;
        --demo) check_packages "${build_packages[@]}" "${demo_packages[@]}" ;;
        --test) check_packages "${build_packages[@]}" "${test_packages[@]}" ;;
        --tls) check_packages "${build_packages[@]}" "${tls_packages[@]}" ;;
        --kernels) check_packages "${build_packages[@]}" "${kernels_packages[@]}" ;;
        --bench) check_packages "${build_packages[@]}" "${bench_packages[@]}" ;;
        --bench-l7) check_packages "${build_packages[@]}" "${bench_l7_packages[@]}" ;;
        *)
            sed -n '4,15s/^# \{0,1\}//p' "$0" >&2
            exit 2
            ;;
    esac
    check_toolchain
    if [ -n "${1:-}" ]; then
        check_kernel
        check_root_and_mounts
    fi
    if [ "$failures" -ne 0 ]; then
        printf '%d finding(s) above have to be remedied first\n' "$failures" >&2
        exit 1
    fi
}

main "$@"
