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
  grep -rhoE 'VQFARM_[A-Z0-9_]+' deploy/compose deploy/helm deploy/images deploy/slurm deploy/systemd docs/deploying.md |
    sort -u | while read -r name; do
    grep -qx "$name" <<<"$known" || { echo "no program knows $name"; return 1; }
  done
}
check "manifests and documents name settings that there are" lint_settings

lint_book() {
  "$tools/mdbook" build -d "$work/book" docs &&
    for page in docs/*.md; do
      [ "$page" = docs/SUMMARY.md ] || grep -q "($(basename "$page"))" docs/SUMMARY.md || { echo "$page is not in the book"; return 1; }
    done
}
check "the documents make a book, and all are in it" lint_book
lint_links() {
  python - README.md docs/*.md <<'PY'
import pathlib, re, sys

def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")

wrong = []
for path in map(pathlib.Path, sys.argv[1:]):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", path.read_text()):
        file = path.parent / target if target else path
        if not file.exists():
            wrong.append(f"{path}: there is no {target}")
        elif anchor and anchor not in map(slug, re.findall(r"^#+ (.*)$", file.read_text(), re.M)):
            wrong.append(f"{path}: {file} has no heading #{anchor}")
print(*wrong, sep="\n")
sys.exit(bool(wrong))
PY
}
check "links between documents lead somewhere" lint_links
