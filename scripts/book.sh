#!/usr/bin/env bash
# The documents as a book: scripts/book.sh [FOLDER], out/book unless told otherwise. A warning of mdBook is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

mdbook=.tools/mdbook/mdbook
[ -x "$mdbook" ] || mdbook=$(command -v mdbook) ||
  { echo "there is no mdbook: scripts/setup.sh --book fetches it, or cargo install --locked mdbook" >&2; exit 1; }
folder=$(realpath -m "${1:-out/book}")
said=$("$mdbook" build --dest-dir "$folder" docs 2>&1) || { echo "$said" >&2; exit 1; }
if grep -q WARN <<<"$said"; then
  echo "$said" >&2
  exit 1
fi
echo "$folder/index.html"
