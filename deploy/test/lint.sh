# Scripts and container files are as their checkers want them. SC2329 and SC2154 know nothing of functions
# that are called by name, and of what lib.sh defines.
# shellcheck shell=bash

scripts() { git ls-files -co --exclude-standard '*.sh' '*.sbatch'; }
lint_scripts() { scripts | xargs "$tools/shellcheck" -x -e SC2329,SC2154; }
check "shellcheck" lint_scripts
check "hadolint" "$tools/hadolint" deploy/images/Containerfile
