#!/usr/bin/env bash
# Whether what is built in may be: licences, banned crates, sources, and known advisories. `deny.toml` has
# the rules. Advisories are a repository on GitHub: where it cannot be reached the copy of an earlier
# run serves, and without one they are skipped, or with --strict a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

deny=(cargo deny)
[ ! -x .tools/cargo-deny/cargo-deny ] || deny=(.tools/cargo-deny/cargo-deny)
"${deny[@]}" --version >/dev/null 2>&1 ||
  { echo "there is no cargo-deny: scripts/setup.sh --dependencies fetches it, or cargo install --locked cargo-deny" >&2; exit 1; }

# A build fetches neither other systems' crates nor those of tests, and cargo-deny reads them all.
cargo fetch --locked --quiet
"${deny[@]}" --offline check licenses bans sources

database() { find "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs" -mindepth 2 -maxdepth 2 -name .git 2>/dev/null | head -1; }
if timeout 120 "${deny[@]}" fetch db >/dev/null 2>&1; then
  "${deny[@]}" --offline check advisories
elif [ "${1:-}" = --strict ]; then
  echo "advisories: the database cannot be fetched" >&2
  exit 1
elif copy=$(database) && [ -n "$copy" ]; then
  echo "advisories: the database cannot be fetched; this is what its copy of $(git --git-dir "$copy" log -1 --format=%cs) says"
  "${deny[@]}" --offline check advisories
else
  echo "advisories: skipped, no advisory database"
fi
