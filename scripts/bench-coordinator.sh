#!/usr/bin/env bash
# A coordinator with 10,000 jobs of history, 200 watchers and a running job of ten million cells:
# how long its answers take, how much memory it has. Asserts nothing: on a machine that does other
# things too the figures say little. `make bench-coordinator` builds first and calls this.
#
#   scripts/bench-coordinator.sh [--jobs N] [--watchers N] [--cells N] [--asked N] [--json]
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --release --workspace --example bench-coordinator
target/release/examples/bench-coordinator "$@"
