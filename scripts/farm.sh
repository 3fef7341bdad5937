#!/usr/bin/env bash
# A whole farm on this machine with real parts: Redis, an S3 server (SeaweedFS), a coordinator,
# two CPU workers. Ctrl-C stops everything; what it stored stays in out/farm/ and is there again
# at the next start. `make farm` builds first and calls this.
#
#   scripts/farm.sh                 VQFARM_ADDR and ports as below
#   WORKERS=4 scripts/farm.sh       more workers
#   THREADS=1 scripts/farm.sh       so many CPU threads for each
#   FARM_DIR=/var/tmp/farm PORT=7171 scripts/farm.sh
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${FARM_DIR:-out/farm}
workers=${WORKERS:-2}
port=${PORT:-7070}
bin=${BIN:-target/release}
redis_port=$((port + 1))
s3_port=$((port + 2)) # SeaweedFS takes the four after it, and each of the five plus 10,000
# The farm's web page; `off` for none.
web=${VQFARM_WEB_LISTEN:-127.0.0.1:$((port + 10))}

say() { printf 'farm: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

weed=${VQFARM_WEED:-.tools/seaweedfs/weed}
for program in "$bin/vqfarm" "$bin/vqfarm-coordinator" "$bin/vqfarm-worker"; do
  [ -x "$program" ] || die "$program is missing; run make build"
done
[ -x "$weed" ] || die "$weed is missing; run make setup"
command -v redis-server >/dev/null || die "redis-server is missing; run make setup"

mkdir -p "$dir"/{redis,s3,log}
exec 9>"$dir/lock"
flock -n 9 || die "a farm is running in $dir already"

names=() pids=()
stopping=
start() { # start NAME COMMAND…: in a session of its own, so that Ctrl-C comes to this script alone
  local name=$1
  shift
  setsid "$@" >"$dir/log/$name.log" 2>&1 </dev/null 9>&- &
  names+=("$name") pids+=($!)
}

stop_all() {
  [ -z "$stopping" ] || return 0
  stopping=yes
  trap '' INT TERM
  say "stopping"
  # Workers first, which finish or hand back their tasks; then what they need.
  local i
  for i in "${!pids[@]}"; do
    [[ ${names[i]} != worker-* ]] || kill -TERM "${pids[i]}" 2>/dev/null || true
  done
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    # Told once: a second signal means at once.
    [[ ${names[i]} == worker-* ]] || kill -TERM "${pids[i]}" 2>/dev/null || continue
    for _ in $(seq 400); do
      kill -0 "${pids[i]}" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "${pids[i]}" 2>/dev/null && say "${names[i]} had to be killed"
  done
  wait 2>/dev/null || true
}
trap stop_all EXIT
trap 'exit 0' INT TERM

# A farm that is ready outlives its workers: one that ends, drained or killed, is told of once.
ready='' ended=' '
alive() { # says who has died
  local i
  for i in "${!pids[@]}"; do
    kill -0 "${pids[i]}" 2>/dev/null && continue
    if [ "$ready" ] && [[ ${names[i]} == worker-* ]]; then
      [[ $ended != *" $i "* ]] || continue
      say "${names[i]} has ended; the farm goes on ($dir/log/${names[i]}.log)"
      ended+="$i "
      continue
    fi
    say "${names[i]} has died; the end of $dir/log/${names[i]}.log:"
    tail -n 20 "$dir/log/${names[i]}.log" >&2
    return 1
  done
}

until_ready() { # until_ready NAME COMMAND…: asks until the command succeeds
  local name=$1
  shift
  for _ in $(seq 600); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    alive || exit 1
    sleep 0.1
  done
  say "$name does not answer; the end of $dir/log/$name.log:"
  tail -n 20 "$dir/log/$name.log" >&2
  exit 1
}

export AWS_ACCESS_KEY_ID=farm-key AWS_SECRET_ACCESS_KEY=farm-secret AWS_REGION=us-east-1
export VQFARM_REDIS=redis://127.0.0.1:$redis_port
export VQFARM_STORAGE=s3://farm
export VQFARM_S3_ENDPOINT=http://127.0.0.1:$s3_port
export VQFARM_ADDR=http://127.0.0.1:$port
export VQFARM_CACHE=$PWD/$dir/models
case $dir in /*) VQFARM_CACHE=$dir/models ;; esac
export RUST_BACKTRACE=${RUST_BACKTRACE:-0}

start redis redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$dir/redis" \
  --appendonly yes --appendfsync everysec --maxmemory-policy noeviction
start s3 "$weed" -logtostderr mini -ip=127.0.0.1 -ip.bind=127.0.0.1 -dir="$dir/s3" -bucket=farm \
  -s3.port="$s3_port" -master.port=$((s3_port + 1)) -volume.port=$((s3_port + 2)) \
  -filer.port=$((s3_port + 3)) -admin.port=$((s3_port + 4)) -s3.port.iceberg=0 -s3.port.lance=0 \
  -webdav=false -admin.ui=false -s3.iam=false -master.telemetry=false
until_ready redis redis-cli -p "$redis_port" ping
until_ready s3 python3 -c "import sys, urllib.request
urllib.request.urlopen('http://127.0.0.1:$((s3_port + 3))/buckets/farm/', timeout=2)
try: urllib.request.urlopen('http://127.0.0.1:$s3_port/', timeout=2)
except urllib.error.HTTPError: pass"

start coordinator "$bin/vqfarm-coordinator" --listen "127.0.0.1:$port" \
  --web-listen "$web"
until_ready coordinator "$bin/vqfarm" status
for n in $(seq "$workers"); do
  # The machine's cores are shared out; each worker has at least one.
  threads=${THREADS:-$(($(nproc) / workers))}
  start "worker-$n" "$bin/vqfarm-worker" run --device cpu --id "worker-$n" \
    --threads $((threads > 0 ? threads : 1))
done
known() {
  [ "$("$bin/vqfarm" workers --json | grep -v '"lost"' | grep -c '"worker-[0-9]*"')" -ge "$workers" ]
}
until_ready worker-1 known

cat >&2 <<TEXT
farm: ready: $workers workers, logs in $dir/log/. In another terminal:

    $( [ "$port" = 7070 ] || echo "export VQFARM_ADDR=$VQFARM_ADDR
    ")$bin/vqfarm submit examples/sweep.toml --watch
    $bin/vqfarm fetch ID out/sweep

farm: Ctrl-C stops it; what is stored stays in $dir/.
TEXT
[ "$web" = off ] || say "its page: http://$web"

ready=yes
while alive; do sleep 1; done
exit 1
