# The images' root file systems, made by the steps of the Containerfile, run as an image is: by nobody in
# particular, read-only but for /tmp and the workers' cache.
# shellcheck shell=bash

images_dir=$work/images
mkdir -p "$images_dir"
rootfs() { deploy/images/rootfs.sh "$1" "$(archive)" "$images_dir/$1"; }
for role in coordinator cli worker; do
  check "the root of $role is made" rootfs "$role"
  printf '        %s: %s\n' "$role" "$(du -sh "$images_dir/$role" | cut -f1)"
done

images_lean() { # nothing to break in with, nothing to become root with
  [ -z "$(find "$images_dir" \( -name 'apt*' -o -name dpkg -o -name bash -o -name dash -o -name perl \) -path '*bin/*')" ] &&
    [ -z "$(find "$images_dir" -type f -perm /6000)" ]
}
check "no shell, no package manager, no setuid program" images_lean

cli() { in_root "$images_dir/cli" -- vqfarm "$@"; }
cli_models() { cli models list --json | grep -q '"demo-f8"'; }
check "cli: it runs, and has the models that come with it" cli_models
images_licences() {
  local root
  for root in "$images_dir"/*; do
    python deploy/test/bill.py "$root"/usr/local/share/doc/vqfarm/sbom*.json && [ -s "$root/usr/share/doc/libc6/copyright" ] &&
      grep -q '"libc6"' "$root/usr/local/share/doc/vqfarm/sbom-system.cdx.json" || return 1
  done
}
check "licences and bills of materials are there" images_licences
images_ffmpeg() {
  in_root "$images_dir/worker" -- ffmpeg -hide_banner -loglevel error -f lavfi -i testsrc=d=0.2:s=64x64 \
    -c:v libx264 -pix_fmt yuv420p /tmp/film.mp4
}
check "worker: ffmpeg makes a film" images_ffmpeg

# A farm of the two images, as images are run; Redis and storage are this machine's.
images_farm() {
  mkdir -p "$work/store" "$work/config" "$work/cache"
  chmod 777 "$work/store" "$work/cache"
  local redis=7379 token
  redis_server "$redis"
  token=$("$(unpacked)/bin/vqfarm-coordinator" token create --user ada --role operator 2>/dev/null)
  tail -n +2 <<<"$token" > "$work/config/tokens.toml"
  head -n 1 <<<"$token" > "$work/config/token"
  chmod 644 "$work"/config/*
  start image-coordinator in_root "$images_dir/coordinator" --ro-bind "$work/config" /etc/vqfarm \
    --bind "$work/store" /var/cache/vqfarm --setenv VQFARM_TOKENS /etc/vqfarm/tokens.toml \
    --setenv VQFARM_LISTEN 127.0.0.1:7370 --setenv VQFARM_WEB_LISTEN 127.0.0.1:7380 \
    --setenv VQFARM_METRICS_LISTEN 127.0.0.1:7364 --setenv VQFARM_REDIS "redis://127.0.0.1:$redis" \
    --setenv VQFARM_STORAGE file:///var/cache/vqfarm -- vqfarm-coordinator
  start image-worker in_root "$images_dir/worker" --as-pid-1 --bind "$work/store" /var/cache/vqfarm \
    --setenv VQFARM_CACHE /tmp/models --setenv VQFARM_METRICS_LISTEN 127.0.0.1:7365 \
    --setenv VQFARM_REDIS "redis://127.0.0.1:$redis" --setenv VQFARM_STORAGE file:///var/cache/vqfarm \
    --setenv VQFARM_DEVICE cpu --setenv VQFARM_GRACE 0 -- vqfarm-worker run
  image_worker=$pid
  until_ready coordinator health 7364 && until_ready worker health 7365 &&
    in_root "$images_dir/cli" --ro-bind "$work/config" /etc/vqfarm --setenv VQFARM_TOKEN_FILE /etc/vqfarm/token \
      --setenv VQFARM_ADDR http://127.0.0.1:7370 -- vqfarm submit --yes --watch \
      /usr/local/share/vqfarm/examples/prompt.toml --set render.iterations=3
}
# The health check of the Containerfile, word for word but for the port.
health() { in_root "$images_dir/worker" -- /bin/busybox wget -q -O /dev/null "http://127.0.0.1:$1/health"; }
check "a farm of the images renders a job" images_farm
images_stop() {
  kill -TERM "$(last_child "$image_worker")"
  wait "$image_worker" && grep -q leaving "$work/image-worker.log"
}
check "worker: SIGTERM ends it in order, though it is the first process" images_stop
stop_started
