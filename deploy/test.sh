#!/usr/bin/env bash
# Checks what is in deploy/ as far as that goes without a container engine, a cluster or Slurm:
# `make test-deploy` builds, packs and calls this.
#
#   deploy/test.sh                   all of it
#   deploy/test.sh images helm       these parts, of those in deploy/test/*.sh
#
# It needs `scripts/setup.sh --deploy` and an archive of `make dist` (ARCHIVE; the newest in out/).
set -euo pipefail
cd "$(dirname "$0")/.."

. deploy/test/lib.sh
parts=("$@")
[ $# -gt 0 ] || parts=(lint policies dist images systemd compose helm slurm)
for part in "${parts[@]}"; do
  [ -f "deploy/test/$part.sh" ] || { echo "there is no part $part" >&2; exit 2; }
  printf '%s\n' "$part"
  # shellcheck source=/dev/null
  . "deploy/test/$part.sh"
done
finish
