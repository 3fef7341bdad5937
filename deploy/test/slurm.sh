# The array's script itself, with a real worker and real signals; Slurm is its variables and a `scontrol` that
# writes down what it is told.
# shellcheck shell=bash

slurm_dir=$work/slurm
mkdir -p "$slurm_dir/bin" "$slurm_dir/store"
printf '#!/bin/sh\necho "$*" >> "%s/scontrol.log"\n' "$slurm_dir" > "$slurm_dir/bin/scontrol"
chmod +x "$slurm_dir/bin/scontrol"
cat > "$slurm_dir/worker.env" <<TEXT
VQFARM_REDIS=redis://127.0.0.1:7571
VQFARM_STORAGE=file://$slurm_dir/store
VQFARM_ADDR=http://127.0.0.1:7570
VQFARM_DEVICE=cpu
VQFARM_CACHE=$slurm_dir/models
TEXT
chmod 600 "$slurm_dir/worker.env"
farm() { VQFARM_ADDR=http://127.0.0.1:7570 "$(unpacked)/bin/vqfarm" "$@"; }

slurm_farm() {
  redis_server 7571
  start slurm-coordinator "$(unpacked)/bin/vqfarm-coordinator" \
    --redis redis://127.0.0.1:7571 --storage "file://$slurm_dir/store" --listen 127.0.0.1:7570 --web-listen off
  until_ready coordinator farm status
}
unset "${!VQFARM_@}" "${!AWS_@}"
check "a farm without workers" slurm_farm

array_task() { # array_task NUMBER SECONDS-LEFT IDLE: the script, as slurmd starts it
  env PATH="$slurm_dir/bin:$PATH" FARM_SETTINGS="$slurm_dir/worker.env" FARM_BIN="$(unpacked)/bin" FARM_POLL=0.2 FARM_IDLE="$3" \
    SLURM_JOB_ID="10$1" SLURM_ARRAY_JOB_ID=100 SLURM_ARRAY_TASK_ID="$1" SLURM_RESTART_COUNT=0 SLURM_CPUS_PER_TASK=1 \
    SLURM_JOB_END_TIME="$(($(date +%s) + $2))" deploy/slurm/vqfarm-workers.sbatch
}
leased() { farm status --json | grep -q '"leased":[1-9]'; }
none_leased() { farm status --json | grep -q '"leased":0'; }

slurm_limit() { # TERM to the script alone, as --signal=B:TERM@180 does
  local script
  farm submit --yes examples/sweep.toml --set render.iterations=60 || return 1
  start limit array_task 1 170 0
  script=$(until_ready script pgrep -P "$pid" && pgrep -P "$pid" | head -n 1)
  until_ready "a lease" leased && kill -TERM "$script" && wait "$pid" && none_leased &&
    [ "$(grep -c 'told to stop' "$work/limit.log")" = 1 ] && grep -q 'leaving' "$work/limit.log" &&
    farm workers --json | grep -q '"slurm-100-1-0"' && [ "$(cat "$slurm_dir/scontrol.log")" = "requeue 101" ]
}
check "at the time limit it finishes, hands back, and goes into the queue again" slurm_limit

slurm_cancelled() {
  local script
  rm -f "$slurm_dir/scontrol.log"
  start cancelled array_task 2 7000 0
  script=$(until_ready script pgrep -P "$pid" && pgrep -P "$pid" | head -n 1)
  until_ready "a lease" leased && kill -TERM "$script" && wait "$pid" && none_leased && [ ! -e "$slurm_dir/scontrol.log" ]
}
check "cancelled long before it, it stays away" slurm_cancelled

slurm_drained() { # by the farm's own command, of a worker that is at work
  start drained array_task 3 7000 0
  until_ready "a lease" leased && farm drain slurm-100-3-0 && wait "$pid" && [ ! -e "$slurm_dir/scontrol.log" ]
}
check "drained by vqfarm drain, it stays away" slurm_drained

slurm_idle() {
  farm cancel last && start idle array_task 4 7000 1 && wait "$pid" &&
    grep -q 'nothing to do for 1 s' "$work/idle.log" && [ ! -e "$slurm_dir/scontrol.log" ]
}
check "with nothing to do it gives its GPU back" slurm_idle

slurm_open() {
  chmod 644 "$slurm_dir/worker.env"
  refuses array_task 5 7000 0
}
check "settings that others can read are refused" slurm_open
stop_started
