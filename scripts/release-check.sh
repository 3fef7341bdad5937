#!/usr/bin/env bash
# What must hold before a version is tagged: licences and advisories of what is built in, the change log, versions that agree,
# and promises: what the last version wrote down is still there.
# Advisories that cannot be looked up are skipped; with --strict that is a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

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
  grep -q "^Queue protocol: ${protocol}[.;]" CHANGELOG.md || { echo "CHANGELOG.md does not tell of queue protocol $protocol"; return 1; }
}

last=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null)
[ "$last" != "v$version" ] || last=$(git describe --tags --abbrev=0 --match 'v*' --exclude "v$version" 2>/dev/null)

# A second look at the last version's protocol messages: fields may be added, never renumbered or removed.
proto_only_grows() {
  [ -n "$last" ] || { echo "(no version is tagged yet)"; return 0; }
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

# Commands and flags, by the reference that is made of them.
commands_only_grow() {
  local page
  [ -n "$last" ] || { echo "(no version is tagged yet)"; return 0; }
  for page in vqfarm vqfarm-worker vqfarm-coordinator; do
    git cat-file -e "$last:docs/reference/$page.md" 2>/dev/null || { echo "($last has no reference)"; return 0; }
    python3 - <(git show "$last:docs/reference/$page.md") "docs/reference/$page.md" <<'PY' || return 1
import re, sys

def written(path):
    found, command = set(), ""
    for line in open(path):
        if heading := re.match(r"## `(.*)`", line):
            command = heading[1]
            found.add(command)
        elif flag := re.match(r"- (?:`-\w`, )?`(--[\w-]+)", line):
            found.add(f"{command} {flag[1]}")
    return found

gone = sorted(written(sys.argv[1]) - written(sys.argv[2]))
for each in gone:
    print("gone:", each)
sys.exit(bool(gone))
PY
  done
}

# Fields of job files, by their schema; that old files are read is tested by core/tests/compat.rs.
job_files_only_grow() {
  [ -n "$last" ] || { echo "(no version is tagged yet)"; return 0; }
  git cat-file -e "$last:docs/reference/job-file.schema.json" 2>/dev/null || { echo "($last has no schema)"; return 0; }
  python3 - <(git show "$last:docs/reference/job-file.schema.json") docs/reference/job-file.schema.json <<'PY'
import json, sys

def fields(schema, path=""):
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        for below in [field, field.get("items", {}), *field.get("anyOf", []), *field.get("oneOf", [])]:
            if isinstance(below, dict):
                yield from fields(below, f"{path}.{name}")
    for choice in schema.get("oneOf", []):
        yield f"{path} = {choice.get('const')}"
    for word in schema.get("enum", []):
        yield f"{path} = {word}"

before, now = (set(fields(json.load(open(path)))) for path in sys.argv[1:3])
for each in sorted(before - now):
    print("gone:", each)
sys.exit(bool(before - now))
PY
}

check "every crate is of version $version" of_one_version
check "the change log tells of $version" in_change_log
check "the change log tells of the queue's protocol" protocol_in_change_log
check "vqfarm.v1 only grows" proto_only_grows
check "commands and flags only grow" commands_only_grow
check "job files only grow" job_files_only_grow
# cargo-semver-checks compares with a published crate; none of ours is. What the farm promises is above.
check "licences, bans, sources, advisories" scripts/check-dependencies.sh "$@"
exit $failed
