#!/usr/bin/env python3
"""Compiles the kernels of engine/cuda/ for every kind of GPU as the program does where there is one:

    scripts/check-kernels.py LIBNVRTC        PyTorch's nvidia/cu13/lib/libnvrtc.so.13

Needs no GPU; the folder of LIBNVRTC must be in LD_LIBRARY_PATH. Exit status 1 and what the compiler
says when one does not compile.
"""

import ctypes
import sys
from pathlib import Path

ARCHITECTURES = [75, 80, 86, 89, 90, 100, 120]
FOLDER = Path(__file__).parent.parent / "engine/cuda"
NORM = (FOLDER / "norm.cuh").read_text()
# What a program is called, its code and its options beside those that all have.
PROGRAMS = [(f"norm.cuh, bf16 {bf16}", f"#define VQFARM_BF16 {bf16}\n{NORM}", []) for bf16 in (0, 1)]
PROGRAMS += [("draws.cuh", (FOLDER / "draws.cuh").read_text(), [b"--fmad=false"])]


def compiled(nvrtc, code, architecture, more):
    """The compiler's answer, and what it said."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernels.cu", 0, None, None)
    options = [f"--gpu-architecture=sm_{architecture}".encode(), b"--std=c++17", *more]
    failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return failed, log.value.decode()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    nvrtc = ctypes.CDLL(sys.argv[1])
    failures = 0
    for name, code, options in PROGRAMS:
        for architecture in ARCHITECTURES:
            failed, log = compiled(nvrtc, code, architecture, options)
            if failed:
                failures += 1
                print(f"check-kernels: {name}, sm_{architecture}: {log}", file=sys.stderr)
    if failures:
        sys.exit(1)
    print(f"check-kernels: they compile for sm_{', sm_'.join(map(str, ARCHITECTURES))}")


main()
