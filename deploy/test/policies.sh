# The policies for AWS's S3, held against AWS's own list of actions, resources and conditions. That they
# allow what the programs ask for: tests/tests/s3_policies.rs.
# shellcheck shell=bash

policies_are_sound() {
  local policy
  for policy in deploy/s3-policy-*.json; do
    sed 's/BUCKET/studio-frames/; s/PREFIX/farm/' "$policy" > "$work/policy.json"
    # It says what is wrong, and ends with 1 then.
    python -m parliament.cli --file "$work/policy.json" >"$work/findings" 2>&1 || { echo "$policy"; cat "$work/findings"; return 1; }
    [ ! -s "$work/findings" ] || { echo "$policy"; cat "$work/findings"; return 1; }
  done
}
check "S3 policies are as AWS has them" policies_are_sound
# A check that finds nothing in anything would be none.
policies_can_fail() {
  sed 's/s3:GetObject/s3:ReadObject/' deploy/s3-policy-worker.json > "$work/policy.json"
  ! python -m parliament.cli --file "$work/policy.json" >"$work/findings" 2>&1 || [ -s "$work/findings" ]
}
check "an action that AWS does not have is found" policies_can_fail
