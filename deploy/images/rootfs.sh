#!/usr/bin/env bash
# Builds the root file system of an image, with or without a container engine: the Containerfile
# beside this calls it, and the tests change root into what it makes.
#
#   deploy/images/rootfs.sh ROLE ARCHIVE DIR
#
# ROLE is coordinator, cli or worker; ARCHIVE what `make dist` made (for GPUs that of --cuda); DIR a
# folder that does not exist yet. In it are the programs of the role, glibc, certificates of public
# authorities, for workers ffmpeg, and busybox for the health check: no shell, no package manager. The
# account is 65532, nothing but /tmp and /var/cache/vqfarm is written to. It needs mmdebstrap, root (or
# user namespaces) and Debian's packages.
set -euo pipefail

role=${1:-} archive=${2:-} dir=${3:-}
say() { printf 'rootfs: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
case $role in
  coordinator) packages=busybox-static programs="vqfarm-coordinator vqfarm" ;;
  cli) packages='' programs=vqfarm ;;
  worker) packages=busybox-static,ffmpeg programs=vqfarm-worker ;;
  *) echo "usage: rootfs.sh coordinator|cli|worker ARCHIVE DIR" >&2; exit 2 ;;
esac
[ -f "$archive" ] || die "$archive is missing; run make dist"
[ -n "$dir" ] && [ ! -e "$dir" ] || die "${dir:-DIR} must be a folder that does not exist yet"
command -v mmdebstrap >/dev/null || die "mmdebstrap is missing; apt-get install mmdebstrap"

# The bill of Debian's packages, beside that of ours; their licences are in /usr/share/doc.
system_parts() {
  local name version arch comma=''
  printf '{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": ['
  while read -r name version arch; do
    printf '%s\n {"type": "library", "name": "%s", "version": "%s", "purl": "pkg:deb/debian/%s@%s?arch=%s&distro=%s"}' \
      "$comma" "$name" "$version" "${name//+/%2B}" "${version//+/%2B}" "$arch" "$suite"
    comma=,
  done < <(LC_ALL=C sort "$work/packages")
  printf '\n]}\n'
}

# Debian's ffmpeg depends on all that it could load, a compiler for graphics cards too; libraries that
# it does not link are left out, half of the folder.
keep_what_ffmpeg_links() {
  local libs=$dir/usr/lib/x86_64-linux-gnu linked
  linked=$(chroot "$dir" /lib64/ld-linux-x86-64.so.2 --list /usr/bin/ffmpeg)
  ! grep -q 'not found' <<<"$linked" || die "ffmpeg lacks a library: $linked"
  linked=$(grep -o '/[^ ]*\.so[^ ]*' <<<"$linked" | while read -r lib; do chroot "$dir" /bin/busybox readlink -f "$lib"; done)
  find "$libs" -type f | while IFS= read -r file; do
    grep -qxF "${file#"$dir"}" <<<"$linked" || rm "$file"
  done
  find "$libs" -xtype l -delete
  find "$dir/usr/bin" -type f ! -name ffmpeg -delete
  find "$libs" -type d -empty -delete
  ldconfig -r "$dir"
}

suite=bookworm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$archive" -C "$work" --strip-components=1
(cd "$work" && sha256sum --quiet --strict -c SHA256SUMS) || die "$archive is damaged"
SOURCE_DATE_EPOCH=$(stat -c %Y "$work/SHA256SUMS")
export SOURCE_DATE_EPOCH

# Extracted, not installed: no maintainer script runs, nothing is configured. The machine's own
# sources are used where it has Debian's, so that a mirror of its choice is.
sources=()
for list in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
  [ -s "$list" ] && grep -q "$suite" "$list" && sources+=("$list")
done
say "extracting Debian's packages"
# shellcheck disable=SC2016 # mmdebstrap's shell and dpkg-deb replace these
mmdebstrap --quiet --variant=extract --include="libc6,libc-bin,ca-certificates${packages:+,$packages}" \
  --extract-hook='for deb in "$1"/var/cache/apt/archives/*.deb; do
    dpkg-deb --show --showformat="\${Package} \${Version} \${Architecture}\n" "$deb"; done >&9' \
  "$suite" "$dir" "${sources[@]}" >&2 9> "$work/packages"

# Licences stay.
find "$dir/usr/share/doc" -type f ! -name copyright -delete
rm -rf "$dir"/usr/share/{man,info,locale,lintian,bash-completion,X11,alsa,ffmpeg/examples} \
  "$dir"/var/{cache,lib/apt,log} "$dir"/usr/lib/x86_64-linux-gnu/{dri,gconv}
cat "$dir"/usr/share/ca-certificates/mozilla/*.crt > "$dir/etc/ssl/certs/ca-certificates.crt"
# What update-alternatives would have chosen.
printf '%s\n' /usr/lib/x86_64-linux-gnu/blas /usr/lib/x86_64-linux-gnu/lapack > "$dir/etc/ld.so.conf.d/alternatives.conf"
ldconfig -r "$dir"
if [ "$role" = worker ]; then keep_what_ffmpeg_links; fi

for program in $programs; do
  install -D -m 755 "$work/bin/$program" "$dir/usr/local/bin/$program"
done
mkdir -p "$dir/usr/local/lib/vqfarm" "$dir/usr/local/share/doc"
if [ "$role" = worker ]; then
  cp -a "$work/lib/vqfarm/." "$dir/usr/local/lib/vqfarm"
else
  cp -a "$work"/lib/vqfarm/libgcc_s.so.1 "$dir/usr/local/lib/vqfarm"
fi
# The models that come with the program: what is submitted with the command, is pushed from there.
if [ "$role" = cli ]; then cp -a "$work/share/vqfarm" "$dir/usr/local/share"; fi
cp -a "$work/share/doc/vqfarm" "$dir/usr/local/share/doc"
system_parts > "$dir/usr/local/share/doc/vqfarm/sbom-system.cdx.json"

printf 'root:x:0:0::/root:/sbin/nologin\nvqfarm:x:65532:65532::/var/cache/vqfarm:/sbin/nologin\n' > "$dir/etc/passwd"
printf 'root:x:0:\nvqfarm:x:65532:\n' > "$dir/etc/group"
printf 'hosts: files dns\n' > "$dir/etc/nsswitch.conf"
mkdir -p "$dir"/{proc,sys,dev,etc/vqfarm}
install -d -m 1777 "$dir/tmp"
# Not owned by root: a volume that is mounted here takes it over.
install -d -m 755 -o 65532 -g 65532 "$dir/var/cache/vqfarm"
find "$dir" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
say "$role: $(du -sh "$dir" | cut -f1)"
