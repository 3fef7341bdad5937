#!/usr/bin/env bash
# How long a worker takes from its start to its first lease and to its first picture, with models of
# the published sizes and made-up weights: fetched, from a cold cache, from a warm one, and beside a
# worker that has the models in memory. A farm of its own with Redis, an S3 server and a coordinator.
# `make measure-start` builds first and calls this.
#
#   scripts/measure-start.sh               float32 weights, 1 GB
#   DTYPE=f16 scripts/measure-start.sh     half of that
#   BIN=/elsewhere/target/release scripts/measure-start.sh   the worker of another build, to compare
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${FARM_DIR:-out/measure-start}
dtype=${DTYPE:-f32}
port=${PORT:-7370}
own=target/release
bin=${BIN:-$own}
export VQFARM_ADDR=http://127.0.0.1:$port

say() { printf 'measure-start: %s\n' "$*" >&2; }

farm='' worker='' other=''
end() { # end PROCESS
  [ -z "$1" ] || { kill -TERM "$1" 2>/dev/null && wait "$1" || true; }
}
stop() {
  end "$worker"
  end "$other"
  end "$farm"
  worker='' other='' farm=''
}
trap stop EXIT
trap 'exit 130' INT TERM

models=$dir/made-up-$dtype
if [ ! -s "$models/made-up-clip.safetensors" ]; then
  mkdir -p "$models"
  "$own/vqfarm-demo" made-up --dtype "$dtype" --models "$models"
fi

rm -rf "${dir:?}/farm" "${dir:?}/cache"
mkdir -p "$dir/farm"
: >"$dir/farm.log"
WORKERS=0 FARM_DIR=$dir/farm PORT=$port BIN=$own scripts/farm.sh 2>"$dir/farm.log" &
farm=$!
until grep -q "^farm: ready" "$dir/farm.log"; do
  kill -0 "$farm" 2>/dev/null || { cat "$dir/farm.log" >&2; exit 1; }
  sleep 0.2
done
for model in vqgan clip; do
  "$own/vqfarm" models import "$models/made-up-$model.safetensors" --name "made-up-$model" \
    --models "$dir/library" >/dev/null 2>&1 || true # it is there from the last time
  VQFARM_MODELS=$dir/library "$own/vqfarm" models push "made-up-$model" >&2
done

seed=0
submit() { # submit WORKER: a new picture of one iteration for it
  seed=$((seed + 1))
  VQFARM_MODELS=$dir/library "$own/vqfarm" submit --prompt "a red sun" --seed "$seed" --yes --json \
    --set render.generator=made-up-vqgan --set 'render.perceptors=["made-up-clip"]' \
    --set 'render.size=[64, 64]' --set render.iterations=1 --set render.cutouts.count=1 \
    --set "requires.tags=[\"$1\"]" >/dev/null
}

start() { # start NAME: a worker, whose process is $!
  AWS_ACCESS_KEY_ID=farm-key AWS_SECRET_ACCESS_KEY=farm-secret AWS_REGION=us-east-1 NO_COLOR=1 \
    "$bin/vqfarm-worker" run --device cpu --id "$1" --tags "$1" \
    --redis "redis://127.0.0.1:$((port + 1))" --storage s3://farm \
    --s3-endpoint "http://127.0.0.1:$((port + 2))" --cache "$dir/cache" 2>"$dir/$1.log" &
}

times() { # times NAME: of a new worker at a new picture
  submit measured
  local begin
  begin=$(date +%s.%N)
  start measured
  worker=$!
  "$own/vqfarm" wait last >/dev/null 2>&1
  local memory
  memory=$(awk '/^Rss(Anon|File|Shmem)/ { printf "%s ", $2 }' "/proc/$worker/status")
  end "$worker"
  worker=''
  # shellcheck disable=SC2086 # three numbers
  python3 - "$1" "$begin" "$dir/measured.log" $memory <<'PYTHON'
import datetime, sys
name, begin, log = sys.argv[1], float(sys.argv[2]), open(sys.argv[3]).read()
own, files, shared = (int(kib) / 1048576 for kib in sys.argv[4:])
def at(word):
    line = next(line for line in log.splitlines() if f": {word}" in line)
    return datetime.datetime.fromisoformat(line.split()[0]).timestamp() - begin
print(f"{name:<28}{at('leased'):>12.2f}{at('rendered'):>14.2f}{own:>14.2f}{files:>13.2f}{shared:>13.2f}")
PYTHON
}

forget() { # has the system forget the cached files' pages
  python3 - "$dir"/cache/*.safetensors <<'PYTHON'
import os, sys
for path in sys.argv[1:]:
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
PYTHON
}

say "$dtype weights, $(du -shc "$models"/*.safetensors | tail -n1 | cut -f1); load $(cut -d' ' -f1-3 /proc/loadavg)"
printf '%-28s%12s%14s%14s%13s%13s\n' '' 'lease, s' 'picture, s' 'memory, GiB' 'mapped, GiB' 'shared, GiB'
times "not cached"
times "cached, in memory"
forget
times "cached, on disk"
times "cached, in memory, again"
submit other
start other
other=$!
"$own/vqfarm" wait last >/dev/null 2>&1
times "beside another"
