#!/bin/sh
# What a container of docker-compose.yml does: gradwire-role server | worker | health | certs, in the folder with the volumes
# runs, state, certs and authority. Once the profile tls has put certificates into certs, they are used.
set -eu
mark=${TMPDIR:-/dev/shm}/gradwire-worker-id # a worker's id, for its health check; in memory, since the root may be read-only

use_kit() {
    if [ -d certs/server ]; then export GRADWIRE_CERTS="certs/$1"; fi
}

case ${1:-} in
server)
    use_kit server
    [ -d certs/server ] || export GRADWIRE_INSECURE=true # to the containers of its network, and this machine's port
    exec gradwire server
    ;;
worker)
    # Worker N is the first whose lock nobody holds, for as long as this process lives: its state, slot and certificate are
    # found again by whichever container comes after it.
    n=1
    while exec 9>"state/worker-$n.lock"; do
        flock --nonblock 9 && break
        n=$((n + 1))
    done
    echo "worker-$n" >"$mark"
    use_kit "worker-$n"
    exec gradwire worker --worker-id "worker-$n" --state state
    ;;
health)
    if [ -e "$mark" ]; then
        worker=$(cat "$mark")
        use_kit "$worker"
        exec gradwire status "$GRADWIRE_SERVER" --worker "$worker"
    fi
    use_kit health
    exec gradwire status "127.0.0.1:${GRADWIRE_LISTEN##*:}"
    ;;
certs)
    # The authority's key stays in a volume of its own, which neither the server nor a worker mounts.
    cd authority
    [ -d certs ] || gradwire certs init --host server --host localhost --host 127.0.0.1 ${TLS_HOST:+--host "$TLS_HOST"}
    n=1 names=
    while [ "$n" -le $((GRADWIRE_WORKERS + 8)) ]; do # some more than the run begins with, for those that join late
        [ -d "certs/worker-$n" ] || names="$names worker-$n"
        n=$((n + 1))
    done
    [ -z "$names" ] || gradwire certs issue worker $names --days 365
    [ -d certs/health ] || gradwire certs issue observer health --days 365
    for kit in certs/*; do
        name=${kit#certs/}
        [ "$name" != ca ] && [ ! -d "../certs/$name" ] || continue
        rm -rf "../certs/.$name"
        cp -Rp "$kit" "../certs/.$name" && mv "../certs/.$name" "../certs/$name"
    done
    cp -p certs/server/allowed.txt ../certs/server/.allowed && mv ../certs/server/.allowed ../certs/server/allowed.txt
    ;;
*)
    sed -n 2,3p "$0" >&2
    exit 2
    ;;
esac
