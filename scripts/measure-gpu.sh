#!/usr/bin/env bash
# Everything that docs/performance.md wants to know of a GPU, the original's loop beside ours, in one
# run of less than five minutes. Needs a Python with PyTorch 2.11.0 for CUDA there, and programs that
# were built anywhere (make build): their libtorch is found beside PyTorch's.
#
#   scripts/measure-gpu.sh [OUT]         report in OUT (out/measure-gpu), one JSON object a line
#   PYTHON=…, BIN=…, DEVICE=cuda:1       another Python, folder of programs, device
#   REHEARSE=1 scripts/measure-gpu.sh    every part on a CPU with small pictures: tries the script,
#                                        and its figures mean nothing
#
# A part that fails is told of at the end, and the others go on. What has not ended after BUDGET seconds
# (290) is left out and told of: the most important comes first.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
out=${1:-out/measure-gpu}
bin=${BIN:-target/release}
python=${PYTHON:-python3}
device=${DEVICE:-$([ -n "${REHEARSE:-}" ] && echo cpu || echo cuda)}
mkdir -p "$out"
[ -x "$bin/vqfarm-worker" ] || { echo "measure-gpu: no $bin/vqfarm-worker: make build, or BIN=…" >&2; exit 2; }

torch=$("$python" -c 'import torch, pathlib; print(pathlib.Path(torch.__file__).parent)') ||
  { echo "measure-gpu: $python has no PyTorch" >&2; exit 2; }
libs=$torch/lib
for lib in "$torch"/../nvidia/*/lib; do [ -d "$lib" ] && libs=$libs:$lib; done
export VQFARM_TORCH_LIB=$torch/lib LD_LIBRARY_PATH=$libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

begin=$(date +%s)
budget=${BUDGET:-290}
failed=()
# part NAME LIMIT COMMAND…: its answer in OUT/NAME.json, what else it says in OUT/NAME.log
part() {
  local name=$1 limit=$2; shift 2
  local left=$((budget * patience - $(date +%s) + begin))
  limit=$((limit * patience))
  [ "$limit" -le "$left" ] || limit=$left
  if [ "$limit" -lt 3 ]; then
    failed+=("$name (no time left)")
  elif timeout "$limit" "$@" > "$out/$name.json" 2> "$out/$name.log"; then
    printf '%4d s  %s\n' "$(($(date +%s) - begin))" "$name" >&2
  else
    failed+=("$name"); printf '%4d s  %s FAILED (%s)\n' "$(($(date +%s) - begin))" "$name" "$out/$name.log" >&2
  fi
}

# Sides of pictures, and what shortens a rehearsal.
sides=(256 384 512 1024); quick=(); original=(--seconds 3); scores=(--precision bf16 tf32 --session composed=off); patience=1
if [ -n "${REHEARSE:-}" ]; then
  sides=(64 80 96 128); quick=(--models small --warm-up 1 --cutouts 4); original=(--iterations 1 --warm-up 0 --cutouts 4)
  scores=(--precision bf16 --session composed=on --prompts 2 --set render.iterations=2); patience=10
fi
# ours NAME LIMIT SIDES ITERATIONS FLAGS…
ours() {
  local name=$1 limit=$2 sizes=$3 iterations=$4; shift 4
  [ -z "${REHEARSE:-}" ] || iterations=1
  part "$name" "$limit" "$bin/vqfarm-worker" bench --device "$device" --json --size "$sizes" --iterations "$iterations" "${quick[@]}" "$@"
}
IFS=, eval 'singles="${sides[*]:0:3}"'

{ nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader; "$python" -c 'import torch; print(torch.__version__)'; } > "$out/machine.txt" 2>&1
# The original, one picture at a time as it works, and beside it ours, in turn.
for turn in 1 2; do
  part "original-$turn" 60 "$python" scripts/original.py --device "$device" --size "${sides[@]:0:3}" "${original[@]}"
  ours "one-$turn" 60 "$singles" 60 --batch 1 --precision bf16
done
ours precisions 40 "${sides[0]}" 30 --batch 1 --precision float32,tf32
# The best batch of each size, as a sweep has it.
ours batches-small 60 "${sides[0]}" 20 --batch 4,8,16,32 --precision bf16
ours batches-middle 40 "${sides[1]}" 12 --batch 8,16 --precision bf16
ours batches-large 40 "${sides[2]}" 10 --batch 4,8 --precision bf16
# What each switch of the loop does, and the ends of what memory allows.
ours switch-graphs 20 "${sides[0]}" 30 --batch 1 --precision bf16 --session graphs=off
ours switch-draws 20 "${sides[0]}" 20 --batch 16 --precision bf16 --session draws=off
ours switch-fused 20 "${sides[0]}" 20 --batch 16 --precision bf16 --session fused=off
ours switch-composed 20 "${sides[0]}" 30 --batch 1 --precision bf16 --session composed=off
ours switch-halves 20 "${sides[0]}" 20 --batch 16 --precision bf16 --session halves=on
ours frugal 30 "${sides[3]}" 3 --batch 1 --precision bf16 --thrift frugal
ours quick 30 "${sides[3]}" 3 --batch 1 --precision bf16 --thrift quick
# Two processes with the same weights, the first of which is killed.
part shared-weights 30 "$bin/examples/shared_weights" "$device" bf16
# Pictures in lesser precisions score as high: 32 prompts and seeds each.
part scores 60 "$bin/vqfarm-demo" measure-precision --device "$device" --json "${scores[@]}"
# The engine against the PyTorch originals' numbers, where its test program was brought along.
# shellcheck disable=SC2012 # names of ours
parity=${PARITY:-$(ls -t "$bin"/deps/parity-???????????????? 2>/dev/null | head -1)}
[ "$device" = cpu ] || export VQFARM_PARITY_DEVICE=$device
if [ -n "$parity" ]; then part parity 60 "$parity"; fi

"$python" scripts/measure-gpu.py "$out"
printf 'in %d s\n' "$(($(date +%s) - begin))"
if [ ${#failed[@]} -gt 0 ]; then echo "measure-gpu: failed: ${failed[*]}" >&2; exit 1; fi
