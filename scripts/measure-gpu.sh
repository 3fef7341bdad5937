#!/usr/bin/env bash
# Everything that docs/performance.md wants to know of a GPU, the original's loop beside ours, in one
# run of less than five minutes. Needs a Python with PyTorch 2.11.0 for CUDA there, and programs that
# were built anywhere (make build): their libtorch is found beside PyTorch's.
#
#   scripts/measure-gpu.sh [OUT]         report in OUT (out/measure-gpu), one JSON object a line
#   PYTHON=…, BIN=…, DEVICE=cuda:1       another Python, folder of programs, device
#
# A part that fails is told of at the end, and the others go on.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
out=${1:-out/measure-gpu}
bin=${BIN:-target/release}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
mkdir -p "$out"
[ -x "$bin/vqfarm-worker" ] || { echo "measure-gpu: no $bin/vqfarm-worker: make build, or BIN=…" >&2; exit 2; }

torch=$("$python" -c 'import torch, pathlib; print(pathlib.Path(torch.__file__).parent)') ||
  { echo "measure-gpu: $python has no PyTorch" >&2; exit 2; }
libs=$torch/lib
for lib in "$torch"/../nvidia/*/lib; do [ -d "$lib" ] && libs=$libs:$lib; done
export VQFARM_TORCH_LIB=$torch/lib LD_LIBRARY_PATH=$libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

begin=$(date +%s)
failed=()
# part NAME LIMIT COMMAND…: its answer in OUT/NAME.json, what else it says in OUT/NAME.log
part() {
  local name=$1 limit=$2; shift 2
  if timeout "$limit" "$@" > "$out/$name.json" 2> "$out/$name.log"; then
    printf '%4d s  %s\n' "$(($(date +%s) - begin))" "$name" >&2
  else
    failed+=("$name"); printf '%4d s  %s FAILED (%s)\n' "$(($(date +%s) - begin))" "$name" "$out/$name.log" >&2
  fi
}
bench() { "$bin/vqfarm-worker" bench --device "$device" --json "$@"; }
export -f bench; export bin device

{ nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader; "$python" -c 'import torch; print(torch.__version__)'; } > "$out/machine.txt" 2>&1
# The original, one picture at a time as it works, and beside it ours, in turn.
for turn in 1 2; do
  part "original-$turn" 60 "$python" scripts/original.py --device "$device" --size 256 384 512 --seconds 3
  part "one-$turn" 60 bash -c 'bench --size 256,384,512 --batch 1 --precision bf16 --iterations 60'
done
part precisions 40 bash -c 'bench --batch 1 --precision float32,tf32 --iterations 30'
# The best batch of each size, as a sweep has it.
part batches-256 60 bash -c 'bench --size 256 --batch 4,8,16,32 --precision bf16 --iterations 20'
part batches-384 40 bash -c 'bench --size 384 --batch 8,16 --precision bf16 --iterations 12'
part batches-512 40 bash -c 'bench --size 512 --batch 4,8 --precision bf16 --iterations 10'
# What each switch of the loop does, and the ends of what memory allows.
part switch-graphs 20 bash -c 'bench --batch 1 --precision bf16 --iterations 30 --session graphs=off'
part switch-composed 20 bash -c 'bench --batch 1 --precision bf16 --iterations 30 --session composed=off'
part switch-halves 20 bash -c 'bench --batch 16 --precision bf16 --iterations 20 --session halves=on'
part frugal-1024 30 bash -c 'bench --size 1024 --batch 1 --precision bf16 --iterations 3 --thrift frugal'
part quick-1024 30 bash -c 'bench --size 1024 --batch 1 --precision bf16 --iterations 3 --thrift quick'
# Pictures in lesser precisions score as high: 32 prompts and seeds each.
part scores 60 "$bin/vqfarm-demo" measure-precision --device "$device" --precision bf16 tf32 --json
# The engine against the PyTorch originals' numbers, where its test program was brought along.
# shellcheck disable=SC2012 # names of ours
parity=${PARITY:-$(ls -t "$bin"/deps/parity-???????????????? 2>/dev/null | head -1)}
if [ -n "$parity" ]; then part parity 60 env VQFARM_PARITY_DEVICE="$device" "$parity"; fi

"$python" scripts/measure-gpu.py "$out"
printf 'in %d s\n' "$(($(date +%s) - begin))"
if [ ${#failed[@]} -gt 0 ]; then echo "measure-gpu: failed: ${failed[*]}" >&2; exit 1; fi
