# The Compose files, and a farm of their parts: this machine's Redis and SeaweedFS with the settings of
# deploy/compose stand for its containers. Dashboard and alerts are held against what that farm exports.
# shellcheck shell=bash

weed=${VQFARM_WEED:-.tools/seaweedfs/weed}
mkdir -p "$work/compose"
cp -r deploy "$work/compose/deploy"
compose=$work/compose/deploy/compose
rm -rf "$compose/.env" "$compose/secrets"

compose_config() { "$tools/docker-compose" -f "$compose/compose.yaml" "$@" config -q; }
check "without secrets Compose says what to run" sh -c "! $tools/docker-compose -f $compose/compose.yaml config -q 2> $work/said && grep -q init.sh $work/said"
check "init.sh makes them" env USER=ada "$compose/init.sh"
compose_init_again() {
  cp -r "$compose/secrets" "$work/before" && cp "$compose/.env" "$work/before/.env" &&
    "$compose/init.sh" && diff -r "$work/before" "$compose/secrets" -x .env && cmp "$work/before/.env" "$compose/.env"
}
check "init.sh a second time changes nothing" compose_init_again
check "compose.yaml fits Compose's schema" compose_config
check "compose.gpu.yaml does on top of it" compose_config -f "$compose/compose.gpu.yaml"

env_of() { sed -n "s/^$1=//p" "$compose/.env"; }
compose_redis() {
  local acl=$compose/secrets/redis.acl
  sed -e "s|/data|$work/compose|; s|/run/secrets/redis.acl|$acl|" "$compose/redis.conf" > "$work/redis.conf"
  start redis redis-server "$work/redis.conf" --port 7471 --bind 127.0.0.1
  until_ready redis sh -c 'redis-cli -p 7471 ping 2>&1 | grep -q -e PONG -e NOAUTH' &&
    redis-cli -p 7471 ping 2>&1 | grep NOAUTH
}
check "redis.conf starts a Redis that lets nobody in without the password" compose_redis

compose_s3() { # its command of compose.yaml, with other ports and folders
  local command
  command=$(python - "$compose/compose.yaml" <<'PY'
import sys, yaml
print(yaml.safe_load(open(sys.argv[1]))["services"]["s3"]["command"])
PY
  )
  mkdir -p "$work/s3"
  command=${command//-dir=\/data/-dir=$work/s3}
  command=${command//-s3.port=8333/-s3.port=7472 -master.port=7473 -volume.port=7474 -filer.port=7475 -admin.port=7476}
  command=${command//-ip.bind=0.0.0.0/-ip.bind=127.0.0.1}
  # shellcheck disable=SC2086 # words as Compose splits them
  AWS_ACCESS_KEY_ID=$(env_of S3_KEY) AWS_SECRET_ACCESS_KEY=$(env_of S3_SECRET) start s3 "$weed" $command
  until_ready s3 curl -fsS -o /dev/null http://127.0.0.1:7475/buckets/farm/
}

# What compose.yaml gives a service, but for addresses of containers.
compose_env() {
  "$tools/docker-compose" -f "$compose/compose.yaml" config --format json > "$work/compose.json" && python - "$work/compose.json" "$1" <<'PY'
import json, sys
for name, value in json.load(open(sys.argv[1]))["services"][sys.argv[2]]["environment"].items():
    print(f"{name}={value}".replace("@redis:6379", "@127.0.0.1:7471").replace("//s3:8333", "//127.0.0.1:7472"))
PY
}
as_service() { # as_service SERVICE COMMAND…: in the environment that Compose gives it
  local service=$1 given
  shift
  mapfile -t given < <(compose_env "$service")
  env "${given[@]}" "$@"
}
farm_of_compose() {
  VQFARM_ADDR=http://127.0.0.1:7470 VQFARM_TOKEN_FILE=$compose/secrets/operator.token "$(unpacked)/bin/vqfarm" "$@"
}
compose_worker() { # compose_worker NAME
  start "$1" as_service worker VQFARM_CACHE="$work/models" "$(unpacked)/bin/vqfarm-worker" run --id "$1" \
    --metrics-listen 127.0.0.1:7479 --grace 0 --lease 2
}
compose_farm() {
  start coordinator as_service coordinator "$(unpacked)/bin/vqfarm-coordinator" --listen 127.0.0.1:7470 --web-listen off \
    --tokens "$compose/secrets/tokens.toml" --metrics-listen 127.0.0.1:7478 --lease 2
  until_ready coordinator farm_of_compose status && compose_worker one &&
    farm_of_compose submit --yes --watch examples/prompt.toml --set render.iterations=3
}

if [ ! -x "$weed" ]; then
  skip "a farm of Compose's parts" "SeaweedFS is missing; run scripts/setup.sh"
else
  check "SeaweedFS starts by the command of compose.yaml" compose_s3
  compose_s3_closed() { curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:7472/farm/ | grep -q 403; }
  check "its bucket is closed to strangers" compose_s3_closed
  check "a farm with Compose's secrets renders a job" compose_farm

  compose_trouble() { # so that metrics of bad days are there: a killed worker, a task nobody may have
    local one=$pid
    farm_of_compose submit --yes examples/sweep.toml
    until_ready "a lease" sh -c "curl -s 127.0.0.1:7478 | grep -q 'vqfarm_tasks{state=\"leased\"} [1-9]'" &&
      kill -KILL -- "-$one" &&
      until_ready "a lost lease" sh -c "curl -s 127.0.0.1:7478 | grep -q 'vqfarm_leases_expired_total [1-9]'" &&
      until_ready "demand" sh -c "curl -s 127.0.0.1:7478 | grep 'vqfarm_demand{tags=\"\",gpu_memory_gib=\"[0-9]*\"} [1-9]'" &&
      farm_of_compose cancel last && compose_worker two &&
      farm_of_compose submit --yes --watch examples/prompt.toml --set render.iterations=3 --set render.seed=8 &&
      until_ready "how busy it is" sh -c "curl -s 127.0.0.1:7479 | grep vqfarm_worker_device_busy"
  }
  check "its metrics tell of a lost worker and of the demand" compose_trouble
  compose_metrics() {
    { curl -sS http://127.0.0.1:7478/metrics && curl -sS http://127.0.0.1:7479/metrics; } > "$work/metrics.txt"
    python deploy/test/promql.py "$work/metrics.txt" deploy/grafana/dashboards/farm.json deploy/prometheus/alerts.yaml
  }
  check "each metric and label of dashboard and alerts is exported by this farm" compose_metrics
  promql_can_fail() {
    sed 's/vqfarm_worker_device_busy/vqfarm_worker_devices_busy/' deploy/grafana/dashboards/farm.json > "$work/wrong.json"
    refuses python deploy/test/promql.py "$work/metrics.txt" "$work/wrong.json"
  }
  check "a metric that nobody exports is found" promql_can_fail
fi
promtool_rules() { (cd deploy/prometheus && "$tools/promtool" check rules alerts.yaml && "$tools/promtool" test rules alerts.test.yaml); }
check "alerts go off when they should" promtool_rules
check "prometheus.yaml is a configuration" "$tools/promtool" check config --syntax-only deploy/prometheus/prometheus.yaml
alerts_explained() {
  local name
  sed -n 's/.*alert: //p' deploy/prometheus/alerts.yaml | while read -r name; do
    grep -qx "## $name" docs/alerts.md || { echo "docs/alerts.md says nothing of $name"; return 1; }
  done
}
check "docs/alerts.md explains each alert" alerts_explained
stop_started
