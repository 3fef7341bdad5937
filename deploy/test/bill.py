#!/usr/bin/env python3
"""Holds bills of materials against CycloneDX's schema: bill.py FILE..."""
import pathlib
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

for path in map(pathlib.Path, sys.argv[1:]):
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text())
    if error:
        sys.exit(f"{path}: {error}")
