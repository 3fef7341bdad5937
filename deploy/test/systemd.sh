# The units, by systemd's own checkers; no systemd runs here.
# shellcheck shell=bash

units=$work/units
mkdir -p "$units"
systemd_units() {
  local unit
  for unit in deploy/systemd/*.service; do
    sed "s|/usr/local/bin|$(unpacked)/bin|" "$unit" > "$units/$(basename "$unit")" || return 1
  done
  cp "$units/vqfarm-worker@.service" "$units/vqfarm-worker@cuda:0.service"
}
check "units are made" systemd_units
systemd_verify() { # it complains on standard error, and is content all the same
  (cd "$units" && systemd-analyze verify --man=no ./vqfarm-coordinator.service "./vqfarm-worker@cuda:0.service") > "$work/verify.log" 2>&1
  cat "$work/verify.log"
  refuses grep -E 'vqfarm.*(Unknown|Failed|not executable|Invalid|ignoring)' "$work/verify.log"
}
check "systemd-analyze verify has nothing to say of them" systemd_verify
systemd_hard() { # UNIT MOST: its exposure, from 0 to 10 in tenths
  (cd "$units" && systemd-analyze security --offline=true --threshold="$2" "./$1" | tail -n 1)
}
check "the coordinator's exposure is at most 1.5" systemd_hard vqfarm-coordinator.service 15
check "a worker's exposure is at most 2.2" systemd_hard "vqfarm-worker@cuda:0.service" 22
systemd_time() { # longer than the grace, so that nothing is killed while it hands back
  local grace stop
  grace=$(sed -n 's/^VQFARM_GRACE=//p' deploy/systemd/worker.env)
  stop=$(sed -n 's/^TimeoutStopSec=//p' deploy/systemd/vqfarm-worker@.service)
  [ "$stop" -gt "$((grace + 10))" ]
}
check "a worker has its grace and some time more" systemd_time
