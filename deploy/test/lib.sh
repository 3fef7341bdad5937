# What the parts of deploy/test.sh share; sourced by it.
# shellcheck shell=bash

tools=$PWD/.tools/deploy/bin
[ -x "$tools/python" ] || { echo "$tools is missing; run scripts/setup.sh --deploy" >&2; exit 1; }
python() { "$tools/python" "$@"; }
work=$(mktemp -d "${TMPDIR:-/tmp}/vqfarm-deploy.XXXXXX")
passed=0 failed=0 skipped=0
started=()

# stop_started: what `start` started, the last first.
stop_started() {
  local i
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    kill -TERM -- "-${started[i]}" 2>/dev/null || true
    wait "${started[i]}" 2>/dev/null || true
  done
  started=()
}
trap 'stop_started; rm -rf "$work"' EXIT

# start NAME COMMAND…: in the background, a process group of its own, its log in $work/NAME.log, its
# number in $pid.
start() {
  local name=$1
  shift
  set -m
  "$@" >"$work/$name.log" 2>&1 </dev/null &
  pid=$!
  set +m
  started+=("$pid")
}

# check NAME COMMAND…: passes if the command succeeds; else what it said is shown.
check() {
  local name=$1
  shift
  if "$@" >"$work/check.log" 2>&1; then
    passed=$((passed + 1))
    printf '  ok    %s\n' "$name"
  else
    failed=$((failed + 1))
    printf '  FAILED %s\n' "$name"
    tail -n 30 "$work/check.log" | sed 's/^/        /'
  fi
}

skip() { # skip NAME REASON
  skipped=$((skipped + 1))
  printf '  skip  %s: %s\n' "$1" "$2"
}

# until_ready NAME COMMAND…: asks until the command succeeds, a minute at most.
until_ready() {
  local name=$1
  shift
  for _ in $(seq 600); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  tail -n 20 "$work"/*.log >&2
  # Last, for the end of what is said is shown.
  echo "$name does not answer" >&2
  return 1
}

# redis_server PORT OPTION…: a Redis of the test's own.
redis_server() {
  local port=$1
  shift
  start "redis-$port" redis-server --port "$port" --bind 127.0.0.1 --dir "$work" --save '' \
    --maxmemory-policy noeviction "$@"
  until_ready "redis" redis-cli -p "$port" ping
}

# last_child PID: the process that bwrap and its shell wait for.
last_child() {
  local pid=$1 child
  while child=$(pgrep -P "$pid" | head -n 1) && [ -n "$child" ]; do pid=$child; done
  echo "$pid"
}

refuses() { ! "$@"; }

# The archive under test, and where it is unpacked.
archive() {
  local found=${ARCHIVE:-}
  if [ -z "$found" ]; then
    # shellcheck disable=SC2012 # names of ours
    found=$(ls -t out/vqfarm-*-linux-x86_64.tar.gz 2>/dev/null | head -n 1)
  fi
  [ -f "$found" ] || { echo "there is no archive in out/; run make dist" >&2; exit 1; }
  realpath "$found"
}
unpacked() {
  if [ ! -d "$work/unpacked" ]; then
    mkdir "$work/unpacked"
    tar -xzf "$(archive)" -C "$work/unpacked" --strip-components=1
  fi
  echo "$work/unpacked"
}

# in_root ROOT OPTION… -- COMMAND…: as an image is run: nobody in particular, no right to write but
# to /tmp and what the options (of bwrap) add.
in_root() {
  local root=$1 options=()
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  bwrap --unshare-user --unshare-pid --uid 65532 --gid 65532 --die-with-parent --clearenv \
    --setenv HOME /tmp --setenv PATH /usr/local/bin:/usr/bin:/bin \
    --ro-bind "$root" / --proc /proc --dev /dev --tmpfs /tmp "${options[@]}" "$@"
}

finish() {
  printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
  [ "$failed" = 0 ]
}
