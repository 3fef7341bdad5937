#!/usr/bin/env python3
"""Looks each metric and label of queries up in what a farm exports.

    promql.py METRICS FILE...

METRICS is the text of /metrics of a coordinator and a worker together; each FILE a dashboard (JSON), rules
or other YAML: whatever stands under `expr` or `query` in it is a query. Metrics of events that a short test
does not see are named in EVENTS and looked up in the sources.
"""
import json
import pathlib
import re
import subprocess
import sys

import promql_parser
import yaml

EVENTS = {"vqfarm_attempts_failed_total", "vqfarm_notifications_total"}
# What Prometheus itself adds; the farm's label `job` becomes `exported_job`.
ADDED = {"up": {"job", "instance"}}
LABELS_ADDED = {"job", "instance"}
SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? [^ ]+$")
LABEL = re.compile(r'([a-z_]+)="')


def exported(text):
    found = {}
    for line in text.splitlines():
        if match := SAMPLE.match(line):
            labels = {"exported_job" if name == "job" else name for name in LABEL.findall(match[2] or "")}
            found.setdefault(match[1], set()).update(labels)
    return found


def queries(node):
    """Query texts of a document, wherever they stand."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query") and isinstance(value, str) and value != "prometheus":
                yield value
            else:
                yield from queries(value)
    elif isinstance(node, list):
        for value in node:
            yield from queries(value)


def selectors(expr):
    """(metric, labels that it is asked for by) of a parsed query; labels of groupings too."""
    if isinstance(expr, promql_parser.VectorSelector):
        yield expr.name, {matcher.name for matcher in expr.matchers.matchers}
    elif isinstance(expr, promql_parser.AggregateExpr):
        by = set(expr.modifier.labels) if expr.modifier else set()
        for name, labels in selectors(expr.expr):
            yield name, labels | by
    else:
        for part in ("expr", "lhs", "rhs", "vector_selector", "vs"):
            if hasattr(expr, part):
                yield from selectors(getattr(expr, part))
        for argument in getattr(expr, "args", []) or []:
            yield from selectors(argument)


def main():
    metrics = ADDED | exported(pathlib.Path(sys.argv[1]).read_text())
    wrong, seen = [], set()
    for path in sys.argv[2:]:
        for document in yaml.safe_load_all(pathlib.Path(path).read_text()):
            for query in queries(document):
                text = query.replace("$__rate_interval", "5m")
                try:
                    found = list(selectors(promql_parser.parse(text)))
                except ValueError as error:
                    wrong.append(f"{path}: {query}: {error}")
                    continue
                if not found:
                    wrong.append(f"{path}: {query}: asks for no metric")
                for name, labels in found:
                    seen.add(name)
                    if name in EVENTS:
                        if subprocess.run(["grep", "-rqF", f'"{name}"', "coordinator/src", "worker/src"]).returncode:
                            wrong.append(f"{path}: {name} is in no source")
                    elif name not in metrics:
                        wrong.append(f"{path}: nobody exports {name}: {query}")
                    elif unknown := labels - metrics[name] - LABELS_ADDED:
                        wrong.append(f"{path}: {name} has no label {', '.join(sorted(unknown))}: {query}")
    print(f"{len(seen)} metrics:", *sorted(seen))
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
