# The archive: complete, the same twice, and it runs where there is nothing but glibc and a shell.
# shellcheck shell=bash

dist_sums() { (cd "$(unpacked)" && sha256sum --quiet --strict -c SHA256SUMS); }
check "every file has its sum" dist_sums

dist_twice() {
  local bin
  bin=$(unpacked)/bin
  BIN=$bin OUT=$work/one GZIP_LEVEL=-1 SOURCE_DATE_EPOCH=1700000000 scripts/dist.sh
  BIN=$bin OUT=$work/two GZIP_LEVEL=-1 SOURCE_DATE_EPOCH=1700000000 scripts/dist.sh
  cmp "$work"/one/*.gz "$work"/two/*.gz && rm -r "$work/one" "$work/two"
}
check "packed twice it is the same to the byte" dist_twice

dist_no_paths() { # of the machine that packed it
  local program
  for program in vqfarm vqfarm-worker vqfarm-coordinator; do
    [ "$(patchelf --print-rpath "$(unpacked)/bin/$program")" = "\$ORIGIN/../lib/vqfarm" ] || return 1
  done
}
check "programs look for libraries beside themselves only" dist_no_paths

dist_sbom() {
  local bill
  bill=$(unpacked)/share/doc/vqfarm/sbom.cdx.json
  python deploy/test/bill.py "$bill" && python - "$bill" <<'PY'
import json, sys

components = json.load(open(sys.argv[1]))["components"]
names = {component["name"] for component in components}
assert {"tch", "tokio", "libtorch_cpu.so", "demo-f8.safetensors"} <= names, names
assert "proptest" not in names, "it lists what only tests need"
without = [component["name"] for component in components if not component["licenses"]]
assert not without, f"no licence: {without}"
PY
}
check "the bill of materials fits CycloneDX's schema, and each part has a licence" dist_sbom

# A bare system: glibc, a shell, the small tools that install.sh calls. No libstdc++, no libgomp.
bare=$work/bare
dist_bare() {
  local sources=() list
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
    if [ -s "$list" ]; then sources+=("$list"); fi
  done
  mmdebstrap --quiet --variant=extract --include=libc6,libc-bin,dash,coreutils,sed,grep,findutils \
    bookworm "$bare" "${sources[@]}"
  ln -sf dash "$bare/bin/sh"
  mkdir -p "$bare"/{proc,mnt,home}
  rm -f "$bare"/lib/x86_64-linux-gnu/libgcc_s.so.1
  [ -z "$(find "$bare" -name 'libstdc++*' -o -name 'libgomp*' -o -name 'libgcc_s*')" ]
}
check "a bare system is made" dist_bare

in_bare() { in_root "$bare" --ro-bind "$(unpacked)" /mnt --bind "$work/home" /home --setenv HOME /home --unshare-net -- "$@"; }
mkdir -p "$work/home" && chmod 777 "$work/home"
dist_dry() {
  in_bare /mnt/install.sh --dry-run > "$work/dry.log" && grep -q 'would put' "$work/dry.log" &&
    [ -z "$(ls -A "$work/home")" ]
}
check "install.sh --dry-run changes nothing" dist_dry
check "install.sh installs for a user" in_bare /mnt/install.sh
check "vqfarm runs" in_bare /home/.local/bin/vqfarm --version
check "vqfarm-coordinator runs" in_bare /home/.local/bin/vqfarm-coordinator --version
dist_probe() { in_bare /home/.local/bin/vqfarm-worker probe | tee /dev/stderr | grep -q '"cores"'; }
check "vqfarm-worker finds libtorch" dist_probe
dist_render() {
  in_bare /home/.local/bin/vqfarm render /home/.local/share/vqfarm/examples/sweep.toml \
    --set render.iterations=3 --set 'sweep.axes.seed=[1]' --out /home/sweep &&
    [ -s "$work/home/sweep/out/contact-sheet.png" ]
}
check "it renders a sheet of eight pictures with the models that came with it" dist_render
dist_again() { # a second time, and by another version's list
  echo /home/.local/share/vqfarm/old >> "$work/home/.local/share/vqfarm/installed"
  touch "$work/home/.local/share/vqfarm/old"
  in_bare /mnt/install.sh && [ ! -e "$work/home/.local/share/vqfarm/old" ]
}
check "installing again removes what the new version has not" dist_again
dist_uninstall() {
  in_bare /mnt/install.sh --uninstall && [ -z "$(find "$work/home/.local" -type f)" ] && [ -d "$work/home/sweep" ]
}
check "install.sh --uninstall removes all that was installed" dist_uninstall
dist_damaged() {
  cp -r "$(unpacked)" "$work/damaged" && echo >> "$work/damaged/bin/vqfarm"
  refuses "$work/damaged/install.sh" --prefix "$work/none" && [ ! -e "$work/none" ]
}
check "a damaged archive is not installed" dist_damaged
rm -rf "$work/damaged"
dist_system() {
  DESTDIR=$work/system "$(unpacked)/install.sh" --system --prefix /opt/vqfarm &&
    grep -q 'ExecStart=/opt/vqfarm/bin/vqfarm-worker' "$work/system/etc/systemd/system/vqfarm-worker@.service" &&
    [ "$(stat -c %a "$work/system/etc/vqfarm/worker.env")" = 600 ] &&
    echo mine > "$work/system/etc/vqfarm/worker.env" &&
    DESTDIR=$work/system "$(unpacked)/install.sh" --system --prefix /opt/vqfarm &&
    grep -qx mine "$work/system/etc/vqfarm/worker.env"
}
check "install.sh --system puts units in place and leaves settings alone" dist_system

# For GPUs; a machine without one can tell that libtorch's CUDA side loads, and from the archive alone.
cuda_archive=$(find out -maxdepth 1 -name 'vqfarm-*-cuda.tar.gz' | head -n 1)
dist_cuda() {
  mkdir "$work/cuda" && tar -xzf "$cuda_archive" -C "$work/cuda" --strip-components=1 &&
    in_root "$bare" --ro-bind "$work/cuda" /mnt -- /mnt/bin/vqfarm-worker probe | tee /dev/stderr | grep -q '"cuda":null' &&
    rm -r "$work/cuda"
}
if [ -n "$cuda_archive" ]; then
  check "the CUDA archive's libraries load in a bare system" dist_cuda
else
  skip "the CUDA archive's libraries load in a bare system" "there is none in out/; make dist CUDA=DIR"
fi
