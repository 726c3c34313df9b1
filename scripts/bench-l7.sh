#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Compares the processor time of a request through l7bench with that through HAProxy, in one run: nginx answers, wrk asks
# over kept connections, blocks alternate. Needs haproxy, nginx, wrk and a release build of Benchmarks.
#
#     scripts/bench-l7.sh [blocks] [seconds] [connections]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

blocks=${1:-6} seconds=${2:-3} connections=${3:-32}
bench=Benchmarks/.build/release/l7bench
for program in haproxy nginx wrk; do
    command -v "$program" >/dev/null || { echo "bench-l7: $program is not installed" >&2; exit 2; }
done
[ -x "$bench" ] || { echo "bench-l7: build it first: swift build -c release --package-path Benchmarks" >&2; exit 2; }

directory=$(mktemp -d)
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$directory"
}
trap cleanup EXIT

backend=18080 ours=18081 theirs=18082 routed=18083
cat >"$directory/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $directory/nginx.pid; error_log /dev/null;
events { worker_connections 1024; }
http {
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
    client_body_temp_path $directory; proxy_temp_path $directory; fastcgi_temp_path $directory;
    uwsgi_temp_path $directory; scgi_temp_path $directory;
    server { listen 127.0.0.1:$backend; location / { return 200 "$(printf 'x%.0s' $(seq 61))"; } }
}
CONF
cat >"$directory/haproxy.cfg" <<CONF
global
    nbthread 1
    maxconn 1024
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
    option forwardfor
frontend in
    bind 127.0.0.1:$theirs
    default_backend out
backend out
    server one 127.0.0.1:$backend
CONF
nginx -c "$directory/nginx.conf" & pids+=($!)
haproxy -f "$directory/haproxy.cfg" -db >/dev/null & haproxy_pid=$!; pids+=($haproxy_pid)
"$bench" $ours $backend >"$directory/ours" & ours_pid=$!; pids+=($ours_pid)
"$bench" $routed $backend routes >"$directory/routed" & routed_pid=$!; pids+=($routed_pid)
sleep 1

# Nanoseconds on a processor of all threads of a process, by the scheduler's own account.
used() { awk '{ sum += $1 } END { printf "%.0f", sum }' /proc/"$1"/task/*/schedstat; }

# measure PID PORT: prints microseconds of a request and requests a second.
measure() {
    local before after output
    before=$(used "$1")
    output=$(wrk -t1 -c"$connections" -d"${seconds}s" "http://127.0.0.1:$2/index.html")
    after=$(used "$1")
    awk -v used=$((after - before)) '/requests in/ { n = $1 } /Non-2xx|Socket errors/ { bad = 1 }
        /Requests\/sec/ { rate = $2 }
        END { if (bad || n == 0) { print "bench-l7: errors in a block" > "/dev/stderr"; exit 1 }
              printf "%.2f %d\n", used / n / 1000, rate }' <<<"$output"
}

for pair in "$ours_pid $ours" "$haproxy_pid $theirs" "$routed_pid $routed"; do
    # shellcheck disable=SC2086
    measure $pair >/dev/null
done
kill -USR1 $ours_pid $routed_pid
echo "block  l7bench us/req (rps)   routes us/req (rps)   haproxy us/req (rps)   ratio   with routes"
for block in $(seq "$blocks"); do
    if [ $((block % 2)) = 1 ]; then
        a=$(measure $ours_pid $ours) r=$(measure $routed_pid $routed) h=$(measure $haproxy_pid $theirs)
    else
        h=$(measure $haproxy_pid $theirs) r=$(measure $routed_pid $routed) a=$(measure $ours_pid $ours)
    fi
    awk -v b="$block" -v a="$a" -v r="$r" -v h="$h" 'BEGIN {
        split(a, A); split(r, R); split(h, H)
        printf "%5d  %8.2f (%6d)      %8.2f (%6d)      %8.2f (%6d)      %.3f   %.3f\n", b, A[1], A[2], R[1], R[2], H[1], H[2], A[1] / H[1], R[1] / H[1] }'
done | tee "$directory/blocks"
for column in 8 9; do
    awk -v c=$((column)) '{ n = NF; print (c == 8 ? $(n - 1) : $n) }' "$directory/blocks" | sort -n |
        awk -v c=$column '{ v[NR] = $1 } END { print (c == 8 ? "median ratio" : "median ratio with routes"), v[int((NR + 1) / 2)] }'
done
kill -USR1 $ours_pid $routed_pid
sleep 0.3
echo "l7bench, warm and at the end:"
cat "$directory/ours"
echo "with routes:"
cat "$directory/routed"
