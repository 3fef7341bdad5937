#!/usr/bin/env python3
"""Writes what an archive of `make dist` is made of: a CycloneDX 1.6 bill of materials and the text of
all licences. Crates come from `cargo metadata` and Cargo.lock (those that the three programs are built
of, not those of tests), libraries and models from the unpacked archive itself.
"""
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import tomllib
import uuid

PROGRAMS = ["vqfarm-cli", "vqfarm-coordinator", "vqfarm-worker"]
TARGET = "x86_64-unknown-linux-gnu"
TORCH = "2.11.0"
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice|unlicense)", re.I)
# Libraries by the beginning of their names; the first that fits.
LIBRARIES = [
    ("libtorch", "libtorch", TORCH, "BSD-3-Clause"),
    ("libc10", "libtorch", TORCH, "BSD-3-Clause"),
    ("libgomp", "libgomp", "", "GPL-3.0-only WITH GCC-exception-3.1"),
    ("libstdc++", "libstdc++", "", "GPL-3.0-only WITH GCC-exception-3.1"),
    ("libgcc_s", "libgcc", "", "GPL-3.0-only WITH GCC-exception-3.1"),
    ("libcudart", "nvidia-cuda-runtime", "13.0.96", "LicenseRef-NVIDIA-CUDA-EULA"),
    ("libcupti", "nvidia-cuda-cupti", "13.0.85", "LicenseRef-NVIDIA-CUDA-EULA"),
    ("", "nvidia", "", "LicenseRef-NVIDIA-CUDA-EULA"),
]


def crates():
    """The packages that the programs are built of, and who needs whom."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET]
    meta = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in meta["packages"]}
    needs = {
        node["id"]: [
            dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])
        ]
        for node in meta["resolve"]["nodes"]
    }
    wanted = [id for id, package in packages.items() if package["name"] in PROGRAMS]
    assert len(wanted) == len(PROGRAMS), f"of {PROGRAMS} are in the workspace: {wanted}"
    found = set()
    while wanted:
        id = wanted.pop()
        if id not in found:
            found.add(id)
            wanted += needs[id]
    return [packages[id] for id in sorted(found, key=lambda id: (packages[id]["name"], packages[id]["version"]))], needs


def ref(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def licence(text):
    """Cargo's older `/` means OR."""
    return [{"expression": " OR ".join(part.strip() for part in text.split("/"))}] if text else []


def crate_components(packages):
    lock = tomllib.loads(pathlib.Path("Cargo.lock").read_text())
    sums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    for package in packages:
        component = {
            "type": "library",
            "bom-ref": ref(package),
            "name": package["name"],
            "version": package["version"],
            "purl": ref(package),
            "licenses": licence(package["license"]),
        }
        if sha := sums.get((package["name"], package["version"])):
            component["hashes"] = [{"alg": "SHA-256", "content": sha}]
        yield component


def owners(python):
    """Which Python package and version a file comes from, by its path below the folder of packages."""
    found = {}
    for info in python.glob("*.dist-info") if python else []:
        name, version = info.name.removesuffix(".dist-info").rsplit("-", 1)
        for line in (info / "RECORD").read_text().splitlines():
            found[line.split(",")[0]] = (name.replace("_", "-"), version)
    return found


def file_components(root, python):
    """Libraries and models, each with the hash of the very file."""
    owner = owners(python)
    for path in sorted(path for path in (root / "lib/vqfarm").rglob("*") if path.is_file()):
        name, version, terms = next(entry[1:] for entry in LIBRARIES if path.name.startswith(entry[0]))
        name, version = owner.get(str(path.relative_to(root / "lib/vqfarm")), (name, version))
        yield file_component(root, path, "library", licence(terms), {"group": name, "version": version})
    for path in sorted((root / "share/vqfarm/models").iterdir()):
        yield file_component(root, path, "machine-learning-model", licence("MIT OR Apache-2.0"), {})


def file_component(root, path, kind, licenses, more):
    with path.open("rb") as file:
        sha = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "type": kind,
        "bom-ref": f"file:{path.relative_to(root)}",
        "name": path.name,
        "licenses": licenses,
        "hashes": [{"alg": "SHA-256", "content": sha}],
        **{key: value for key, value in more.items() if value},
    }


def bill(packages, needs, root, python):
    version = next(p["version"] for p in packages if p["name"] == PROGRAMS[0])
    components = [*crate_components(packages), *file_components(root, python)]
    inside = {package["id"]: ref(package) for package in packages}
    dependencies = [
        {"ref": inside[id], "dependsOn": sorted({inside[dep] for dep in needs[id] if dep in inside})}
        for id in inside
    ]
    when = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    content = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # The same content has the same number.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {
            "timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": "vqfarm",
                "name": "vqfarm",
                "version": version,
                "licenses": licence("MIT OR Apache-2.0"),
            },
        },
        "components": components,
        "dependencies": [
            {"ref": "vqfarm", "dependsOn": sorted(inside[p["id"]] for p in packages if p["name"] in PROGRAMS)},
            *sorted(dependencies, key=lambda entry: entry["ref"]),
        ],
    }


def licence_files(folder):
    return sorted(path for path in folder.iterdir() if path.is_file() and LICENCE_FILE.search(path.name))


def licence_texts(packages, python):
    """Each text once, under the names of those that come with it."""
    texts = {}
    for package in packages:
        if package["source"]:
            for path in licence_files(pathlib.Path(package["manifest_path"]).parent):
                text = path.read_text(errors="replace").strip()
                texts.setdefault(text, []).append(f"{package['name']} {package['version']}")
    for path in sorted(python.glob("*.dist-info/**/*")) if python else []:
        if path.is_file() and LICENCE_FILE.search(path.name):
            name = path.relative_to(python).parts[0].removesuffix(".dist-info")
            texts.setdefault(path.read_text(errors="replace").strip(), []).append(name)
    yield "vqfarm is MIT OR Apache-2.0. It is built of the crates below, each under the terms named.\n"
    yield "\n".join(f"{p['name']} {p['version']}: {p['license'] or 'see its text'}" for p in packages) + "\n"
    yield (
        "lib/vqfarm holds libtorch (BSD-3-Clause, https://github.com/pytorch/pytorch/blob/main/LICENSE),\n"
        "libgomp, libstdc++ and libgcc (GPL-3.0 with the GCC runtime exception, as Debian distributes them),\n"
        "and NVIDIA's libraries (https://docs.nvidia.com/cuda/eula/).\n"
    )
    for text, names in texts.items():
        yield f"{'=' * 100}\n{', '.join(dict.fromkeys(names))}\n{'=' * 100}\n{text}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, required=True, help="the unpacked archive")
    parser.add_argument("--sbom", type=pathlib.Path, required=True)
    parser.add_argument("--licences", type=pathlib.Path, required=True)
    parser.add_argument("--python", type=pathlib.Path, help="folder of installed Python packages")
    args = parser.parse_args()
    packages, needs = crates()
    args.sbom.write_text(json.dumps(bill(packages, needs, args.root, args.python), indent=1) + "\n")
    args.licences.write_text("\n".join(licence_texts(packages, args.python)))


if __name__ == "__main__":
    main()
