#!/usr/bin/env bash
# Checks that every symbol which the CUDA shim leaves open is in libtorch and CUDA's runtime:
#   scripts/check-shim.sh SHIM.so DIR...
# SHIM.so is target/*/build/vqfarm-engine-*/out/shim.so, DIR a folder of libraries: PyTorch's
# torch/lib, with libtorch_cuda.so and libc10_cuda.so, and one with libcudart.so.13.
# Needs no GPU. Exit status 1 and the names when some are missing.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
shim=$1; shift

# The C and C++ libraries' own symbols are versioned, those of libtorch are not.
open=$(nm -D --undefined-only "$shim" | awk '$1 == "U" { print $2 }' | grep -v '@' | sort -u)
libraries=()
for dir in "$@"; do
  while IFS= read -r file; do libraries+=("$file"); done < <(find -L "$dir" -maxdepth 1 -name '*.so*' -size +1k)
done
[ ${#libraries[@]} -gt 0 ] || { echo "check-shim: no library in $*" >&2; exit 2; }
defined=$(nm -D --defined-only "${libraries[@]}" 2>/dev/null | awk 'NF >= 3 { sub(/@.*/, "", $3); print $3 }' | sort -u)
missing=$(comm -23 <(printf '%s\n' "$open") <(printf '%s\n' "$defined"))
if [ -n "$missing" ]; then
  echo "check-shim: not in ${libraries[*]}:" >&2
  printf '%s\n' "$missing" | c++filt >&2
  exit 1
fi
echo "check-shim: all $(printf '%s\n' "$open" | wc -l) symbols are there"
