"""Triton's kernels compiled for a GPU that need not be there, at Latte-XL's sizes.

    python tests/helpers/compiled_kernels.py

Prints a line of JSON: for each kernel the bytes of spilled registers, and whether it reads and
writes 16 bytes at a time. Needs Triton 3.3 or newer.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from latte_cli.models.kernels import triton_attention, triton_norm

TARGET, ARCHITECTURE = GPUTarget("cuda", 90, 32), "sm_90a"
ATTENTION = {"WIDTH": 72, "ROWS": 16, "COLUMNS": 128, "KEEP": True}
NORM = {"WIDTH": 1152, "BLOCK": 2048, "ROWS": 16, "GATED": True, "EPS": 1e-6}
IN_BF16 = {"q", "k", "v", "out", "grad", "dq", "dk", "dv", "y", "d_y", "d_out"}
WHOLE = {
    *("frames", "video", "places", "heads", "rows", "by_group", "by_clip", "by_frame", "by_place"),
    *("to_clip", "to_frame", "to_place"),
}


def build(kernel, constants: dict[str, object], attention: bool, warps: int) -> tuple[int, bool]:
    """Spilled bytes, and whether all accesses to memory are of 16 bytes."""
    types = {}
    for name in kernel.arg_names:
        if name in constants:
            types[name] = "constexpr"
        elif name in WHOLE:
            types[name] = "i32"
        elif attention and name == "scale":
            types[name] = "fp32"
        else:
            types[name] = "*bf16" if name in IN_BF16 else "*fp32"
    # Pointers and strides are multiples of 16, as at Latte-XL's sizes; `video` need not be.
    aligned = {
        (number,): [["tt.divisibility", 16]]
        for number, name in enumerate(kernel.arg_names)
        if types[name].startswith("*") or (types[name] == "i32" and name != "video")
    }
    source = ASTSource(kernel, types, constexprs=constants, attrs=aligned)
    built = triton.compile(source, target=TARGET, options={"num_warps": warps})
    text = built.asm["ptx"]
    accesses = re.findall(r"(?:ld|st)\.global\.\S+", text)
    return spilled(text), all(".v4.b32" in each for each in accesses)


def spilled(ptx: str) -> int:
    """Bytes of registers that the assembler stores to memory; of several, the first that can."""
    assemblers = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        for assembler in sorted(assemblers.glob("ptxas*")):
            command = [str(assembler), "-v", f"--gpu-name={ARCHITECTURE}", str(path)]
            command += ["-o", str(path.with_suffix(".cubin"))]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                return int(re.search(r"(\d+) bytes spill stores", done.stderr)[1])
    raise RuntimeError(done.stderr)


def main() -> None:
    found = {}
    for kernel in (triton_attention._attend_forward, triton_attention._attend_backward):
        found[kernel.fn.__name__] = build(kernel, ATTENTION, True, 1)
    for kernel in (triton_norm._norm_forward, triton_norm._norm_backward):
        found[kernel.fn.__name__] = build(kernel, NORM, False, 8)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
