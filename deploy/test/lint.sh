# Scripts and container files are as their checkers want them. SC2329 and SC2154 know nothing of functions
# that are called by name, and of what lib.sh defines.
# shellcheck shell=bash

scripts() { git ls-files -co --exclude-standard '*.sh' '*.sbatch'; }
lint_scripts() { scripts | xargs "$tools/shellcheck" -x -e SC2329,SC2154; }
check "shellcheck" lint_scripts
check "hadolint" "$tools/hadolint" deploy/images/Containerfile

# Settings in manifests and documents are settings of the programs.
lint_settings() {
  local bin known
  bin=$(unpacked)/bin
  known=$({ "$bin/vqfarm-coordinator" --help; "$bin/vqfarm-worker" run --help; "$bin/vqfarm" status --help; } | grep -o 'VQFARM_[A-Z0-9_]*')
  grep -rhoE 'VQFARM_[A-Z0-9_]+' deploy/compose deploy/helm deploy/images deploy/slurm deploy/systemd docs/deploying.md docs/tutorials |
    sort -u | while read -r name; do
    grep -qx "$name" <<<"$known" || { echo "no program knows $name"; return 1; }
  done
}
check "manifests and documents name settings that there are" lint_settings

# That all pages are in it and their links lead somewhere is tested by tests/tests/documents.rs.
check "the documents make a book" scripts/book.sh "$work/book"

lint_examples() {
  python - examples/*.toml <<'PY'
import json, sys, tomllib
import jsonschema

schema = json.load(open("docs/reference/job-file.schema.json"))
jsonschema.Draft7Validator.check_schema(schema)
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        jsonschema.validate(tomllib.load(file), schema)
PY
}
check "examples fit the schema of job files" lint_examples
