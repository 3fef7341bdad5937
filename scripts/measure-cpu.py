#!/usr/bin/env python3
"""One picture on a CPU: the original's loop (scripts/original.py) and ours in turn, in pairs.

Needs PyTorch 2.11.0 in the Python that runs this, and vqfarm-worker (make build). Asserts nothing: on a
machine that does other things too the seconds say little, and the ratio more.

    scripts/measure-cpu.py --pairs 5 --size 256
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ENV = {**os.environ, "GOMP_SPINCOUNT": "0"}


def seconds(command):
    """Of an iteration, as the command's one line of JSON tells."""
    answer = subprocess.run(command, env=ENV, check=True, capture_output=True, text=True).stdout
    return 1 / json.loads(answer)["iterations_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--size", default="256", help="side in pixels, a multiple of 16")
    parser.add_argument("--iterations", default="3", help="of each run that are measured, after one that is not")
    parser.add_argument("--worker", default=HERE.parent / "target/release/vqfarm-worker")
    args = parser.parse_args()
    common = ["--device", "cpu", "--size", args.size, "--iterations", args.iterations, "--warm-up", "1"]
    theirs = [sys.executable, str(HERE / "original.py"), *common]
    ours = [str(args.worker), "bench", *common, "--json"]
    print("| pair | original, s | vqfarm, s | times as fast |\n|---|---|---|---|")
    ratios = []
    for pair in range(1, args.pairs + 1):
        original, vqfarm = seconds(theirs), seconds(ours)
        ratios.append(original / vqfarm)
        print(f"| {pair} | {original:.2f} | {vqfarm:.2f} | {ratios[-1]:.2f} |", flush=True)
    print(f"\nmedian {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
