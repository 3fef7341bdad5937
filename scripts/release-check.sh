#!/usr/bin/env bash
# What must hold before a version is tagged: licences and advisories of what is built in, the change log, versions that agree.
# A tool that is not installed is named and skipped; with --strict it is a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

strict=${1:-}
failed=0

check() {
  local what=$1
  shift
  if "$@"; then
    echo "ok       $what"
  else
    echo "FAILED   $what"
    failed=1
  fi
}

# The second word is the cargo subcommand that it takes.
with_tool() {
  local what=$1 tool=$2
  shift 2
  if cargo "$tool" --version >/dev/null 2>&1; then
    check "$what" "$@"
  elif [ "$strict" = --strict ]; then
    echo "FAILED   $what: install it with \`cargo install --locked cargo-$tool\`"
    failed=1
  else
    echo "skipped  $what: there is no cargo-$tool"
  fi
}

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

of_one_version() {
  local others
  others=$(cargo metadata --format-version 1 --no-deps --offline |
    python3 -c 'import json, sys; print("\n".join(p["name"] for p in json.load(sys.stdin)["packages"] if p["version"] != sys.argv[1]))' "$version")
  [ -z "$others" ] || { echo "not of version $version: $others"; return 1; }
}

in_change_log() {
  grep -q "^## \[$version\]" CHANGELOG.md || { echo "CHANGELOG.md has no section for $version"; return 1; }
}

protocol_in_change_log() {
  local protocol
  protocol=$(sed -n 's/^pub const PROTOCOL: u32 = \([0-9]*\);/\1/p' queue/src/protocol.rs)
  grep -q "^Queue protocol: $protocol\.$" CHANGELOG.md || { echo "CHANGELOG.md does not tell of queue protocol $protocol"; return 1; }
}

# A second look at the last version's protocol messages: fields may be added, never renumbered or removed.
proto_only_grows() {
  local last
  last=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null) || { echo "(no version is tagged yet)"; return 0; }
  python3 - <(git show "$last:proto/vqfarm/v1/farm.proto") proto/vqfarm/v1/farm.proto <<'PY'
import re, sys

def fields(path):
    found, message = set(), ""
    for line in open(path):
        if opened := re.match(r"(?:message|enum|service) (\w+)", line):
            message = opened[1]
        if field := re.match(r"\s+(?:repeated |optional )?([\w.<>, ]+?) ?(\w+) = (\d+);", line):
            found.add((message, field[1], field[2], field[3]))
        if call := re.match(r"\s+rpc (\w+)\((.*)\) returns \((.*)\)", line):
            found.add((message, *call.groups()))
    return found

gone = sorted(fields(sys.argv[1]) - fields(sys.argv[2]))
for each in gone:
    print("gone or changed:", *each)
sys.exit(bool(gone))
PY
}

check "every crate is of version $version" of_one_version
check "the change log tells of $version" in_change_log
check "the change log tells of the queue's protocol" protocol_in_change_log
check "vqfarm.v1 only grows" proto_only_grows
with_tool "licences, sources and bans (cargo deny)" deny cargo deny --offline check licenses sources bans
with_tool "advisories (cargo audit)" audit cargo audit --no-fetch --deny warnings
# cargo-semver-checks compares with a published crate; none of ours is, so there is nothing for it to do.
exit $failed
