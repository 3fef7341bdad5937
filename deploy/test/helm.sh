# The chart, rendered by Helm's own library and held against Kubernetes's published schemas, KEDA's and the
# Prometheus Operator's types and Prometheus; no cluster.
# shellcheck shell=bash

chart() { python deploy/test/chart.py "$@"; }
for command in lint schemas ways security refuses telemetry; do
  check "chart: $command" chart "$command"
done

# The question that KEDA asks, answered by Prometheus's own engine over demands made up.
helm_demand() {
  mkdir -p "$work/demand"
  chart demand > "$work/demand/test.yaml" && "$tools/promtool" test rules "$work/demand/test.yaml"
}
check "each class is scaled by the tasks that it could have, and no others" helm_demand
helm_metrics() { # after `compose`, by what a farm exports
  chart queries > "$work/queries.yaml" && python deploy/test/promql.py "$work/metrics.txt" "$work/queries.yaml"
}
if [ -s "$work/metrics.txt" ]; then
  check "what it asks Prometheus for is exported" helm_metrics
else
  skip "what it asks Prometheus for is exported" "the part compose did not run before"
fi
