#!/usr/bin/env bash
# The queue beside BullMQ on the same Redis: one process and 50 workers each, that do nothing but
# take tasks and finish them, in turn; medians of five rounds. Asserts nothing: on a machine that
# does other things too the figures say little. Needs Node with npm; what that installs lies in a
# temporary folder. `make bench-bullmq` calls this.
#
#   scripts/bench-bullmq.sh [--seconds 3] [--json]     seconds of each of our measurements
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp scripts/bench-bullmq/* "$dir"
npm install --prefix "$dir" --no-audit --no-fund --silent
cargo build --quiet --release --workspace --example bench
target/release/examples/bench --bullmq "$dir/bench.mjs" "$@"
