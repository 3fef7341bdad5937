#!/usr/bin/env python3
"""Holds policies for S3 against AWS's own list of actions, resources and conditions."""
import pathlib
import sys

import parliament


def findings(text):
    """What is wrong with a policy, in words."""
    policy = parliament.analyze_policy_string(text.replace("BUCKET", "studio-frames").replace("PREFIX", "farm"))
    return [f"{finding.issue}: {finding.detail or finding.location}" for finding in policy.findings]


wrong = []
for path in map(pathlib.Path, sys.argv[1:]):
    text = path.read_text()
    wrong += [f"{path}: {finding}" for finding in findings(text)]
    # A check that finds nothing in anything would be none.
    for good, bad in [("s3:GetObject", "s3:ReadObject"), ("s3:prefix", "s3:prefixes"), ("arn:aws:s3:::BUCKET\"", "BUCKET\"")]:
        assert good in text and findings(text.replace(good, bad)), f"{path}: {bad} is not found"
print(*wrong, sep="\n")
sys.exit(bool(wrong))
