#!/usr/bin/env bash
# How a zoom scales on real farms of this machine, with one and with two workers of one CPU thread
# each, beside what `vqfarm plan` says. Asserts nothing: on a machine that does other things too
# the times say little. `make bench-zoom` builds first and calls this.
#
#   scripts/bench-zoom.sh                            a short zoom
#   scripts/bench-zoom.sh JOB.toml --set FIELD=VALUE   another one
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${FARM_DIR:-out/bench-zoom}
bin=${BIN:-target/release}
port=${PORT:-7270}
job=("$@")
[ $# -gt 0 ] || job=(examples/measure-zoom.toml --set animation.frames=37
  --set animation.zoom.frames_per_step=6 --set render.iterations=40
  --set animation.zoom.round_iterations=20)
export VQFARM_ADDR=http://127.0.0.1:$port

say() { printf 'bench-zoom: %s\n' "$*" >&2; }

farm=
stop() {
  [ -z "$farm" ] || { kill -TERM "$farm" 2>/dev/null && wait "$farm" || true; }
  farm=
}
trap stop EXIT
trap 'exit 130' INT TERM

start() { # start WORKERS: a new farm
  rm -rf "${dir:?}/$1"
  mkdir -p "$dir/$1"
  : >"$dir/$1/farm.log"
  WORKERS=$1 THREADS=1 FARM_DIR=$dir/$1 PORT=$port BIN=$bin scripts/farm.sh 2>"$dir/$1/farm.log" &
  farm=$!
  until grep -q "^farm: ready" "$dir/$1/farm.log"; do
    kill -0 "$farm" 2>/dev/null || { cat "$dir/$1/farm.log" >&2; exit 1; }
    sleep 0.2
  done
}

render() { # render [FLAGS]: submits the job and waits until it is done
  "$bin/vqfarm" submit "${job[@]}" "$@" --json >/dev/null
  "$bin/vqfarm" wait last
}

field() { # field NAME: of the JSON object on standard input
  python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"
}

planned() { # planned WORKERS: iterations of one worker's time until it is done
  "$bin/vqfarm" plan "${job[@]}" --workers "$1" --json | field iterations_until_done
}

times=() plans=()
for workers in 1 2; do
  plans+=("$(planned "$workers")")
  start "$workers"
  say "$workers: every worker loads the models"
  render --set render.iterations=1 --set animation.zoom.rounds=1
  say "$workers: renders; load $(cut -d' ' -f1-3 /proc/loadavg)"
  begin=$(date +%s.%N)
  render
  times+=("$(python3 -c "print($(date +%s.%N) - $begin)")")
  stop
done
python3 - "${times[@]}" "${plans[@]}" <<'PYTHON'
import sys
one, two, plan_one, plan_two = map(float, sys.argv[1:])
print(f"{'':10}{'1 worker':>12}{'2 workers':>12}{'ratio':>8}")
print(f"{'time, s':10}{one:12.1f}{two:12.1f}{one / two:8.2f}")
print(f"{'iterations':10}{plan_one:12.0f}{plan_two:12.0f}{plan_one / plan_two:8.2f}")
PYTHON
