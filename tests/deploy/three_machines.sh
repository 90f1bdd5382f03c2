#!/bin/bash
# Walks "Three bare machines" of docs/deploy.md, word by word, in three network namespaces with links of 20 Mbit/s.
# Wants root and iproute2; says so and ends with 0 where it cannot. Usage: three_machines.sh [ROUNDS]
set -euo pipefail
rounds=${1:-200}
if [ "$(id -u)" != 0 ] || ! command -v ip >/dev/null || ! command -v tc >/dev/null; then
    echo "skipped: three machines want root, ip and tc"
    exit 0
fi
id=gw$$ # of everything that is made here
folder=$(mktemp -d)
started=()
clean() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait || true
    for host in server w1 w2; do ip netns del "$id-$host" 2>/dev/null || true; done
    ip netns del "$id-switch" 2>/dev/null || true
    rm -rf "$folder"
}
trap clean EXIT

if ! ip netns add "$id-switch" 2>/dev/null; then
    echo "skipped: this kernel lets nobody make network namespaces"
    exit 0
fi
ip -n "$id-switch" link add switch type bridge
ip -n "$id-switch" link set switch up
number=0
for host in server w1 w2; do
    number=$((number + 1))
    ip netns add "$id-$host"
    ip link add eth0 netns "$id-$host" type veth peer name "port$number" netns "$id-switch"
    ip -n "$id-switch" link set "port$number" master switch up
    ip -n "$id-$host" addr add "10.77.0.$number/24" dev eth0
    ip -n "$id-$host" link set eth0 up
    ip -n "$id-$host" link set lo up
    for end in "$id-$host:eth0" "$id-switch:port$number"; do # both ways
        tc -n "${end%:*}" qdisc add dev "${end#*:}" root tbf rate 20mbit burst 32kbit latency 200ms
    done
    mkdir "$folder/$host"
done

on() { # HOST COMMAND...: in the folder of a machine
    local host=$1
    shift
    (cd "$folder/$host" && exec ip netns exec "$id-$host" "$@")
}

on server gradwire certs init --host 10.77.0.1
on server gradwire certs issue worker w1 w2
for host in w1 w2; do cp -r "$folder/server/certs/$host" "$folder/$host/$host"; done # scp -r certs/w1 w1:
on server gradwire server --listen 0.0.0.0:50051 --certs certs/server --workers 2 --rounds "$rounds" >"$folder/server.log" 2>&1 &
started+=($!)
server=$!
for host in w1 w2; do
    on "$host" gradwire worker --server 10.77.0.1 --certs "$host" --patience 300 >"$folder/$host.log" 2>&1 &
    started+=($!)
done
if ! wait "$server"; then
    tail -n 20 "$folder"/*.log
    exit 1
fi
grep -E "^listening on|^a worker:|the run came to|left in" "$folder/server.log"
[ -f "$folder/server/runs/run/weights.safetensors" ]
right=$(grep -o 'test accuracy [0-9.]*' "$folder/server.log" | tail -n 1 | grep -o '[0-9.]*$')
awk -v right="$right" 'BEGIN { exit !(right >= 97) }' || { echo "error: test accuracy is $right %, want 97 %"; exit 1; }
echo "three machines trained to $right % over links of 20 Mbit/s"
