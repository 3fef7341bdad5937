#!/usr/bin/env bash
# Zooms beside feedback chains of the same scenes, sizes and cameras, with the demo models: about five
# minutes a scene on two cores. What is rendered already stays. `make measure-zoom` builds first and
# calls this.
#
#   scripts/measure-zoom.sh              all scenes, and their means
#   scripts/measure-zoom.sh tower sun    these
#   JSON=1 scripts/measure-zoom.sh       one JSON object a line, the last one the means
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${DIR:-out/measure-zoom}
bin=${BIN:-target/release}
declare -A scenes=(
  [tower]="a yellow tower on green hills, blue sky"
  [tree]="a green tree in the snow, night sky"
  [house]="a red house in the desert, sunset sky"
  [moon]="a white moon over the sea, night sky"
  [sun]="a yellow sun over the sea, sunset sky"
  [mushroom]="a red mushroom on green grass, pink sky"
  [boat]="a white boat on the sea, blue sky"
  [flower]="a pink flower in the snow, aurora"
)
names=("$@")
[ $# -gt 0 ] || names=(tower tree house moon sun mushroom boat flower)
for name in "${names[@]}"; do
  [ -n "${scenes[$name]:-}" ] || { echo "no scene $name; there are ${!scenes[*]}" >&2; exit 2; }
done

zooms=() chains=()
for name in "${names[@]}"; do
  for mode in zoom feedback; do
    "$bin/vqfarm" render "examples/measure-$mode.toml" --set "render.prompt=${scenes[$name]}" \
      --out "$dir/$name/$mode" >&2
  done
  zooms+=("$dir/$name/zoom")
  chains+=("$dir/$name/feedback")
done
"$bin/vqfarm-demo" measure-zoom --zoom "${zooms[@]}" --feedback "${chains[@]}" ${JSON:+--json}
