#!/usr/bin/env bash
# Packs the programs, libtorch and all that belongs to them into one archive that runs on any x86-64
# Linux with glibc 2.36 or later, for GPUs with nothing but NVIDIA's driver:
# out/vqfarm-VERSION-linux-x86_64.tar.gz and its .sha256. `make dist` builds first and calls this.
#
#   scripts/dist.sh                    for CPUs
#   scripts/dist.sh --cuda DIR         for GPUs too, as …-linux-x86_64-cuda.tar.gz; DIR holds PyTorch of
#                                      libtorch's version with NVIDIA's libraries, as it is after
#                                      pip install --target DIR torch==2.11.0
#   BIN=DIR OUT=DIR scripts/dist.sh    programs from elsewhere, archive to elsewhere
#
# The same programs give the same archive to the byte: order, owners and times are fixed, the times
# by SOURCE_DATE_EPOCH (that of the commit unless set).
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${BIN:-target/release}
out=${OUT:-out}
torch=${LIBTORCH:-.libtorch}
cuda='' suffix=''
TORCH_VERSION=$(sed -n 's/^TORCH_VERSION=//p' scripts/setup.sh)
say() { printf 'dist: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
while [ $# -gt 0 ]; do
  case $1 in
    --cuda)
      cuda=${2:-} suffix=-cuda
      [ -e "$cuda/torch/lib/libtorch_cuda.so" ] ||
        die "--cuda: ${cuda:-the folder} holds no torch/lib/libtorch_cuda.so; fill it with pip install --target DIR torch==2.11.0"
      grep -q "__version__ = '${TORCH_VERSION}[+']" "$cuda/torch/version.py" || die "--cuda: $cuda/torch is not $TORCH_VERSION"
      shift 2
      ;;
    *) echo "usage: scripts/dist.sh [--cuda DIR]" >&2; exit 2 ;;
  esac
done
for program in vqfarm vqfarm-worker vqfarm-coordinator; do
  [ -x "$bin/$program" ] || die "$bin/$program is missing; run make build"
done
[ -e "$torch/lib/libtorch_cpu.so" ] || die "$torch/lib/libtorch_cpu.so is missing; run make setup"
for tool in patchelf strip cc; do
  command -v "$tool" >/dev/null || die "$tool is missing; run scripts/setup.sh --deploy"
done

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
version=$("$bin/vqfarm" --version | cut -d' ' -f2)
name=vqfarm-$version-linux-x86_64$suffix
mkdir -p "$out"
work=$(mktemp -d "$out/dist.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/$name
share=$root/share
umask 022
mkdir -p "$root"/{bin,lib/vqfarm} "$share"/{man/man1,vqfarm,doc/vqfarm} \
  "$share"/{bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}

add_programs() { # they find their libraries beside themselves, wherever the archive is unpacked
  local program
  for program in vqfarm vqfarm-worker vqfarm-coordinator; do
    install -m 755 "$bin/$program" "$root/bin/$program"
    strip --strip-debug "$root/bin/$program"
  done
  # shellcheck disable=SC2016 # the loader replaces $ORIGIN
  local libs='$ORIGIN/../lib/vqfarm'
  patchelf --set-rpath "$libs" "$root/bin/vqfarm" "$root/bin/vqfarm-coordinator"
  patchelf --set-rpath "${cuda:+$libs/torch/lib:}$libs" "$root/bin/vqfarm-worker"
}

# What the programs need besides glibc, so that a bare system will do.
add_libraries() {
  local lib
  for lib in libstdc++.so.6 libgcc_s.so.1; do
    install -m 644 "$(readlink -f "$(cc -print-file-name="$lib")")" "$root/lib/vqfarm/$lib"
  done
  if [ -n "$cuda" ]; then add_cuda; return; fi
  for lib in "$torch"/lib/*.so*; do
    [ "$(basename "$lib")" = libtorch.so ] || install -m 644 "$(readlink -f "$lib")" "$root/lib/vqfarm/$(basename "$lib")"
  done
}

# Unchanged and in the folders that PyTorch has them in: by these they find each other.
add_cuda() {
  local lib
  (cd "$cuda" && find -L torch/lib nvidia -name '*.so*' -type f \
    ! -name libtorch_python.so ! -name libtorch.so ! -name libshm.so) | LC_ALL=C sort |
    while IFS= read -r lib; do
      install -D -m 644 "$cuda/$lib" "$root/lib/vqfarm/$lib"
    done
}

add_share() {
  install -d "$share/vqfarm/models" "$share/vqfarm/examples"
  install -m 644 assets/models/*.safetensors "$share/vqfarm/models"
  install -m 644 examples/* "$share/vqfarm/examples"
  (cd deploy && find . -type f ! -path './test*' ! -path '*/.env' ! -path '*/secrets/*' -print0) |
    while IFS= read -r -d '' file; do
      install -D -m "$([ -x "deploy/$file" ] && echo 755 || echo 644)" "deploy/$file" "$share/vqfarm/deploy/$file"
    done
  "$bin/vqfarm" man --dir "$share/man/man1" >/dev/null
  # The shell asks the program on PATH, wherever that is.
  "$bin/vqfarm" completions bash --program vqfarm > "$share/bash-completion/completions/vqfarm"
  "$bin/vqfarm" completions zsh --program vqfarm > "$share/zsh/site-functions/_vqfarm"
  "$bin/vqfarm" completions fish --program vqfarm > "$share/fish/vendor_completions.d/vqfarm.fish"
  install -m 644 README.md LICENSE-MIT LICENSE-APACHE docs/*.md "$share/doc/vqfarm"
  install -d "$share/doc/vqfarm/tutorials" "$share/doc/vqfarm/reference"
  install -m 644 docs/tutorials/* "$share/doc/vqfarm/tutorials"
  install -m 644 docs/reference/* "$share/doc/vqfarm/reference"
  install -m 644 assets/fonts/OFL.txt "$share/doc/vqfarm/LICENSE-Inter-OFL.txt"
  python3 scripts/sbom.py --root "$root" --sbom "$share/doc/vqfarm/sbom.cdx.json" \
    --licences "$share/doc/vqfarm/LICENCES.txt" ${cuda:+--python "$cuda"}
}

add_programs
add_libraries
add_share
install -m 755 deploy/install.sh "$root/install.sh"
(cd "$root" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) > "$work/SHA256SUMS"
install -m 644 "$work/SHA256SUMS" "$root/SHA256SUMS"

archive=$out/$name.tar.gz
say "packing $archive"
tar --create --directory "$work" --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" \
  --owner=0 --group=0 --numeric-owner "$name" | gzip -n "${GZIP_LEVEL:--6}" > "$archive.new"
mv "$archive.new" "$archive"
(cd "$out" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
say "$(du -h "$archive" | cut -f1) packed, $(du -sh "$root" | cut -f1) unpacked"
echo "$archive"
