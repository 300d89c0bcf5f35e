#!/usr/bin/env bash
# Serves requests under deploy/seccomp/ringress.json, on io_uring and on epoll, and sees that the profile refuses what it should.
# On x86_64 with Python, curl and the C library's headers.
#
#   RINGRESS=target/debug/ringress deploy/seccomp/test.sh
set -euo pipefail
shopt -s inherit_errexit
: "${RINGRESS:?names the binary to try}"
RINGRESS=$(realpath "$RINGRESS")
cd "$(dirname "$0")"

folder=$(mktemp -d)
pids=()
trap 'end' EXIT

main() {
    local header=/usr/include/x86_64-linux-gnu/asm/unistd_64.h
    if [[ ! -e $header ]]; then
        echo "left out: the seccomp profile ($header is missing)"
        return
    fi
    manifests
    "$RINGRESS" echo --listen 127.0.0.1:29101 >/dev/null 2>&1 &
    pids+=($!)
    refuses 'a new user namespace' unshare --user true
    refuses 'a raw packet socket' python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'
    # PTRACE_TRACEME: it can harm nobody where it is allowed.
    refuses 'tracing' python3 -c 'import ctypes, sys; sys.exit(0 if ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0 else 1)'
    serves epoll
    if [[ $(cat /proc/sys/kernel/io_uring_disabled 2>/dev/null || echo 0) = 0 ]]; then
        serves io_uring
    else
        echo 'left out: io_uring under the profile (kernel.io_uring_disabled)'
    fi
}

manifests() {
    cat >"$folder/all.yaml" <<'YAML'
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
    - host: web.local
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 29101}]
endpoints: [{addresses: [127.0.0.1]}]
YAML
}

# serves DRIVER
serves() {
    local pid plain tls
    ./try.py ringress.json "$RINGRESS" run --manifests "$folder" --watch-ingress-without-class --io-driver "$1" \
        --http-port 29080 --https-port 29443 --admin-address 127.0.0.1:29255 --health-address 127.0.0.1:29254 >"$folder/log" 2>&1 &
    pid=$!
    pids+=("$pid")
    if ! ready; then
        cat "$folder/log"
        return 1
    fi
    plain=$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: web.local' http://127.0.0.1:29080/)
    tls=$(curl -sk -o /dev/null -w '%{http_code}' --resolve web.local:29443:127.0.0.1 https://web.local:29443/)
    curl -s http://127.0.0.1:29254/metrics >"$folder/metrics"
    if [[ $plain != 200 || $tls != 200 ]] || ! grep -q "^ringress_io_driver{.*driver=\"$1\"} 1" "$folder/metrics"; then
        echo "FAILED  under the profile: plain $plain, TLS $tls, wanted 200 on $1"
        cat "$folder/log"
        return 1
    fi
    kill -TERM "$pid"
    wait "$pid"
    echo "ok      ringress serves under the profile on $1"
}

ready() {
    for _ in {1..200}; do
        if curl -sf http://127.0.0.1:29254/readyz >/dev/null; then return; fi
        sleep 0.05
    done
    return 1
}

# refuses WHAT COMMAND…: the command works, and under the profile it does not.
refuses() {
    local what=$1
    shift
    if ! "$@" 2>/dev/null; then
        echo "left out: the profile refuses $what (so does this machine)"
    elif ./try.py ringress.json "$@" 2>/dev/null; then
        echo "FAILED  the profile allows $what"
        return 1
    else
        echo "ok      the profile refuses $what"
    fi
}

end() {
    local pid
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    rm -rf "$folder"
}

main
