#!/bin/sh
# Puts the unpacked archive of `make dist` in place, and takes it away again. It needs nothing but a
# shell, sha256sum and, for --system, systemd.
set -eu

usage() {
  cat <<'TEXT'
usage: ./install.sh [--prefix DIR] [--system] [--dry-run]
       ./install.sh --uninstall [--prefix DIR] [--system] [--dry-run]

  --prefix DIR   below which to install [default: ~/.local; with --system /usr/local]
  --system       for the whole machine: also the user vqfarm, systemd units and settings in
                 /etc/vqfarm, which stay as they are where there are some
  --uninstall    remove what was installed; settings, caches and the user stay
  --dry-run      say what would be done
TEXT
}

say() { printf 'install: %s\n' "$*"; }
die() { printf 'install: %s\n' "$*" >&2; exit 1; }
misused() { printf 'install: %s\n' "$*" >&2; usage >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
prefix='' system='' dry='' uninstall=''
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) [ $# -gt 1 ] || misused "--prefix: a folder is missing"; prefix=$2; shift ;;
    --prefix=*) prefix=${1#*=} ;;
    --system) system=yes ;;
    --dry-run) dry=yes ;;
    --uninstall) uninstall=yes ;;
    -h | --help) usage; exit ;;
    *) misused "unknown argument: $1" ;;
  esac
  shift
done
if [ -z "$prefix" ]; then
  if [ "$system" ]; then prefix=/usr/local; else prefix=${HOME:?give --prefix}/.local; fi
fi
case $prefix in
  *[!A-Za-z0-9/._+-]*) misused "--prefix: $prefix has signs that a unit file cannot hold" ;;
  /*) ;;
  *) prefix=$(pwd)/$prefix ;;
esac
root=${DESTDIR:-}
[ -z "$system" ] || [ "$(id -u)" = 0 ] || [ "$root" ] || [ "$dry" ] || die "--system needs root: sudo $0 --system"

do_it() { if [ "$dry" ]; then say "would: $*"; else "$@"; fi; }
# What was installed, a path a line: what --uninstall removes.
list=$root$prefix/share/vqfarm/installed

remove_listed() {
  [ -f "$list" ] || die "nothing is installed below $root$prefix: $list is missing"
  while IFS= read -r file; do
    do_it rm -f "$root$file"
  done < "$list"
  do_it rm -f "$list"
  # Folders of ours that are empty now; others stay.
  for dir in share/vqfarm share/doc/vqfarm lib/vqfarm; do
    if [ -d "$root$prefix/$dir" ]; then do_it find "$root$prefix/$dir" -depth -type d -empty -delete; fi
  done
}

running_systemd() { [ "$system" ] && [ -z "$root" ] && [ -d /run/systemd/system ]; }

if [ "$uninstall" ]; then
  if running_systemd; then
    do_it systemctl disable --now 'vqfarm-worker@*.service' vqfarm-coordinator.service || true
  fi
  remove_listed
  if running_systemd; then do_it systemctl daemon-reload; fi
  say "removed from $root$prefix"
  exit
fi

[ -f "$here/SHA256SUMS" ] || die "$here/SHA256SUMS is missing: run the install.sh of an unpacked archive"
(cd "$here" && sha256sum --quiet --strict -c SHA256SUMS) || die "the archive is damaged: nothing was installed; fetch it again"

new=$(mktemp)
trap 'rm -f "$new"' EXIT
put() { # put MODE FILE PATH: PATH is where it lies in the end
  printf '%s\n' "$3" >> "$new"
  if [ "$dry" ]; then say "would put $root$3"; return; fi
  mkdir -p "$root$(dirname "$3")"
  # Beside it first: a program that runs goes on with the old file.
  cp "$2" "$root$3.new"
  chmod "$1" "$root$3.new"
  mv -f "$root$3.new" "$root$3"
}

files=$(cd "$here" && find bin lib share -type f | LC_ALL=C sort)
say "$(printf '%s\n' "$files" | wc -l) files to $root$prefix"
for file in $files; do
  case $file in
    bin/* | *.sh | *.sbatch) mode=755 ;;
    *) mode=644 ;;
  esac
  put "$mode" "$here/$file" "$prefix/$file"
done

if [ "$system" ]; then
  deploy=$here/share/vqfarm/deploy/systemd
  for unit in vqfarm-coordinator.service vqfarm-worker@.service; do
    sed "s|/usr/local/|$prefix/|g" "$deploy/$unit" > "$new.unit"
    put 644 "$new.unit" "/etc/systemd/system/$unit"
    rm -f "$new.unit"
  done
  put 644 "$deploy/vqfarm.sysusers" /usr/lib/sysusers.d/vqfarm.conf
  do_it mkdir -p "$root/etc/vqfarm"
  for settings in coordinator.env worker.env; do
    [ -e "$root/etc/vqfarm/$settings" ] || {
      do_it cp "$deploy/$settings" "$root/etc/vqfarm/$settings"
      do_it chmod 600 "$root/etc/vqfarm/$settings" # systemd reads it as root
    }
  done
  if running_systemd; then
    do_it systemd-sysusers /usr/lib/sysusers.d/vqfarm.conf
    do_it systemctl daemon-reload
  fi
fi

# Of an earlier version, what this one has no more.
if [ -f "$list" ]; then
  while IFS= read -r file; do
    grep -qxF -- "$file" "$new" || do_it rm -f "$root$file"
  done < "$list"
fi
if [ -z "$dry" ]; then cp "$new" "$list" && chmod 644 "$list"; fi

if [ "$system" ]; then
  say "done. Fill in /etc/vqfarm/worker.env, then: systemctl enable --now vqfarm-worker@cuda:0 (or @cpu)"
else
  case :$PATH: in
    *:"$prefix/bin":*) say "done. Try: vqfarm doctor" ;;
    *) say "done. Put $prefix/bin on your PATH, then try: vqfarm doctor" ;;
  esac
fi
