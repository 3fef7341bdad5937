#!/usr/bin/env python3
"""Tables of what scripts/measure-gpu.sh measured, for docs/performance.md."""

import json
import pathlib
import statistics
import sys


def lines(path):
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def of_turns(out, name, size, key):
    """The median over the turns of what was measured at a size."""
    found = [row[key] for path in sorted(out.glob(f"{name}-[0-9].json")) for row in lines(path)
             if row.get("size") == size and key in row]
    return statistics.median(found) if found else None


def number(value, digits=1):
    return "" if value is None else f"{value:,.{digits}f}"


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def best(out, size):
    """Of all batches, the one of most iterations a second."""
    found = [row for path in (*out.glob("batches-*.json"), *out.glob("one-[0-9].json")) for row in lines(path)
             if row.get("size") == size and "iterations_per_second" in row]
    return max(found, key=lambda row: row["iterations_per_second"], default=None)


def main():
    out = pathlib.Path(sys.argv[1])
    machine = out / "machine.txt"
    print(machine.read_text() if machine.exists() else "")
    rows = []
    for size in sorted({row["size"] for path in out.glob("one-[0-9].json") for row in lines(path)}):
        theirs = of_turns(out, "original", size, "iterations_per_second")
        ours, top = of_turns(out, "one", size, "iterations_per_second"), best(out, size)
        ratio = lambda value: number(value / theirs) if value and theirs else ""
        rate = top and top["iterations_per_second"]
        rows.append([f"{size}²", number(theirs), number(ours), ratio(ours), str(top["batch"]) if top else "",
                     number(top and top["images_per_hour"], 0), ratio(rate),
                     number(top and 100 * top["utilisation"])])
    table(["size", "original it/s", "one picture it/s", "times", "best batch", "images/h", "times", "% of matrix rate"], rows)

    names = ["precisions", "batches-small", "batches-middle", "batches-large", "switch-graphs", "switch-draws", "switch-fused",
             "switch-composed", "switch-halves", "frugal", "quick"]
    rows = []
    for name in names:
        for row in lines(out / f"{name}.json"):
            common = [name, row["precision"], f"{row['size']}²", str(row["batch"])]
            if row.get("out_of_memory"):
                rows.append([*common, "out of memory", "", "", "", ""])
            else:
                rows.append([*common, number(row["iterations_per_second"], 2), number(row["images_per_hour"], 0),
                             number(row["peak_memory"] / 2**30, 2), number(row["estimated_memory"] / 2**30, 2),
                             number(100 * row["utilisation"])])
    table(["part", "precision", "size", "batch", "it/s", "images/h", "GiB", "estimated", "% of matrix rate"], rows)
    for row in lines(out / "shared-weights.json"):
        if "sharing" in row:
            print(f"{row['process']} process: weights {row['sharing']} after {row['seconds']:.2f} s {row['why'] or ''}")
    for row in lines(out / "scores.json"):
        print(f"{row['what']:<21} judge {row['judge']['mean']:.4f} ({row['judge']['more']:+.4f} ± {row['judge']['error']:.4f})")


if __name__ == "__main__":
    main()
