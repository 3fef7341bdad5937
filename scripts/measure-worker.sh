#!/usr/bin/env bash
# How busy a worker's device is over a sweep, with a store that is slow: 50 ms for each answer, 5 MB/s.
# A farm of its own with Redis, an S3 server behind a slow wire, a coordinator and one worker of one
# CPU thread. Asserts nothing: on a machine that does other things too the figures say little.
# `make measure-worker` builds first and calls this.
#
#   scripts/measure-worker.sh                          200 cells of 30 iterations
#   CELLS=20 ITERATIONS=5 scripts/measure-worker.sh    fewer and smaller ones
#   DELAY_MS=200 BYTES_PER_SECOND=1000000 scripts/measure-worker.sh
#
# The trace stays in out/measure-worker/trace.json.
set -euo pipefail
cd "$(dirname "$0")/.."

example=${BIN:-target/release}/examples/measure_worker
[ -x "$example" ] || { echo "measure-worker: $example is missing; run make measure-worker" >&2; exit 1; }
VQFARM_PROGRAMS=${BIN:-$PWD/target/release} exec "$example"
