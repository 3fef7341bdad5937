# The policies for AWS's S3, as AWS has such things. That they allow what the programs ask for:
# tests/tests/s3_policies.rs.
# shellcheck shell=bash

check "S3 policies name actions, resources and conditions that AWS has" \
  python deploy/test/policies.py deploy/s3-policy-*.json
