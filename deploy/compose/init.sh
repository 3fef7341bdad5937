#!/usr/bin/env bash
# Makes what a farm in Compose keeps secret, once: .env with passwords, and in secrets/ Redis's list of
# users, the coordinator's tokens and Grafana's password. What is there stays.
set -euo pipefail
cd "$(dirname "$0")"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
set_in_env() { grep -q "^$1=" .env || printf '%s=%s\n' "$1" "$2" >> .env; }

umask 077
mkdir -p secrets
[ -e .env ] || cp .env.example .env
set_in_env REDIS_PASSWORD "$(random)"
set_in_env S3_KEY "$(random)"
set_in_env S3_SECRET "$(random)"

password=$(sed -n 's/^REDIS_PASSWORD=//p' .env)
sha256=$(printf %s "$password" | sha256sum | cut -d' ' -f1)
{
  echo "user default off"
  sed "s/REPLACE-WITH-SHA256-OF-THE-PASSWORD/$sha256/" ../redis.acl
} > secrets/redis.acl

# A token as `vqfarm-coordinator token create` makes them; the file holds its hash alone.
if [ ! -e secrets/tokens.toml ]; then
  token=vqf_$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
  printf '%s\n' "$token" > secrets/operator.token
  printf '[[token]]\nsha256 = "%s"\nuser = "%s"\nrole = "operator"\n' \
    "$(printf %s "$token" | sha256sum | cut -d' ' -f1)" "${USER:-operator}" > secrets/tokens.toml
fi
[ -e secrets/grafana ] || random > secrets/grafana
# Containers read them as accounts of their own; the folder keeps others out.
chmod 644 secrets/redis.acl secrets/tokens.toml secrets/grafana

cat >&2 <<TEXT
secrets are in $PWD/secrets. When the farm is up:

    vqfarm profiles add compose --coordinator http://127.0.0.1:7070 --token-file $PWD/secrets/operator.token
    vqfarm -P compose status

its page is at http://127.0.0.1:7080, Grafana at http://127.0.0.1:3000 (admin, secrets/grafana).
TEXT
