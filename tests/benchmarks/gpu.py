"""Everything about a GPU in a few minutes: is it right, how fast, and where does the time go.

    python tests/benchmarks/gpu.py --minutes 6 [--out gpu-results] [--parts layers profile …]

Runs from a checkout that is not installed, without a network, on Linux or macOS. It needs PyTorch,
einops, numpy, pydantic, PyYAML, rich, safetensors, tqdm and diffusers; decord, av, imageio-ffmpeg
and the package's other dependencies it does not. What a machine lacks may lie in a folder that
`--packages` names: fetch wheels where there is a network by `pip download --no-deps -d wheels
--only-binary :all: --python-version 3.12 --platform manylinux2014_x86_64 pydantic pydantic-core
annotated-types typing-extensions typing-inspection diffusers`, and unpack them on the machine by
`pip install --no-index --no-deps --target packages wheels/*`.

Each part is a process of its own with its own share of the minutes. A part that fails, or outlasts
its time, is reported with what it had measured, and the others go on. `gpu.json` and `gpu.md` are
written after each of them. `--device cpu --tiny` tries the script where there is no GPU.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
NEEDED = {
    **{name: name for name in ("torch", "einops", "numpy", "pydantic", "rich", "safetensors")},
    **{"yaml": "PyYAML", "tqdm": "tqdm", "diffusers": "diffusers"},
}
SHARES = {
    "machine": 0.04,
    "goldens": 0.06,
    "layers": 0.12,
    "training XL/2": 0.36,
    "profile": 0.12,
    "resume": 0.06,
    "sharding": 0.06,
    "sampling": 0.06,
    "encoding": 0.04,
    "training B/2": 0.05,
    "training S/2": 0.03,
}
"""Parts in their order, and how much of the time each may take; what one leaves, later ones get."""
GRACE_S = 5.0  # until a part that has not ended in time is ended
FORKED = "forked subprocess"  # in PyTorch's error where a library has touched the GPU before

Results = dict[str, dict[str, object]]


def part_of(name: str) -> Callable[..., object]:
    """The function of a part; importing it takes seconds."""
    from gpu_parts import correct, layers, sample, train

    parts = {
        "machine": correct.machine,
        "goldens": correct.goldens,
        "layers": layers.layers,
        "profile": train.profiled,
        "resume": correct.resume,
        "sharding": correct.sharding,
        "sampling": sample.sampling,
        "encoding": sample.encoding,
    }
    sizes = {f"training {size}/2": partial(train.training, size=size) for size in ("XL", "B", "S")}
    return (parts | sizes)[name]


def run_part(name: str, options: argparse.Namespace, seconds: float, rows: Path) -> None:
    """In a process of its own: write each row, as a line of JSON, as soon as it is measured."""
    import torch
    from gpu_parts.context import Context, reason

    with rows.open("w", encoding="utf-8", buffering=1) as file:
        try:
            torch.manual_seed(0)
            device = options.device or ("cuda" if torch.cuda.is_available() else "")
            if not device:
                raise RuntimeError("no GPU here: `--device cpu --tiny` tries the script without")
            context = Context(torch.device(device), options.tiny, seconds)
            for row in part_of(name)(context):
                file.write(json.dumps(row) + "\n")
        except Exception as error:
            file.write(json.dumps({"error": reason(error)}) + "\n")


def timed_part(
    name: str, options: argparse.Namespace, seconds: float, start: str = "fork"
) -> dict[str, object]:
    """The rows of a part, its seconds, and its error, if it has one.

    A fork, so that PyTorch is imported once; where one cannot use the GPU, a fresh process.
    """
    rows, started = options.out / "rows.jsonl", time.monotonic()
    rows.write_text("", encoding="utf-8")
    process = multiprocessing.get_context(start).Process(
        target=run_part, args=(name, options, seconds, rows), daemon=False
    )
    process.start()
    process.join(seconds + GRACE_S)
    error = ""
    if process.is_alive():
        process.kill()
        process.join()
        error = f"not done after {seconds + GRACE_S:.0f} s"
    elif process.exitcode:
        error = f"ended by signal or code {process.exitcode}"
    lines = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    error = next((str(line.pop("error")) for line in lines if "error" in line), error)
    rows.unlink()
    if FORKED in error and start == "fork":
        return timed_part(name, options, seconds, "spawn")
    took = round(time.monotonic() - started, 1)
    return {"seconds": took, "error": error, "rows": [line for line in lines if line]}


def as_markdown(results: Results) -> str:
    """A heading and a table for each part."""
    blocks = []
    for name, part in results.items():
        blocks.append(f"## {name} ({part['seconds']} s)")
        if part["error"]:
            blocks.append(f"**{part['error']}**")
        rows = part["rows"]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        if columns:
            lines = [columns, ["---"] * len(columns)]
            lines += [[_cell(row.get(column)) for column in columns] for row in rows]
            blocks.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(blocks) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value).replace("|", "/")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = __doc__
    parser.add_argument("--minutes", type=float, default=6.0, help="of all parts together")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--parts", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--packages", type=Path, help="a folder of packages that are not installed")
    parser.add_argument("--device", help="cpu or cuda; by default the GPU")
    parser.add_argument("--tiny", action="store_true", help="sizes that only try the script")
    return parser.parse_args()


def main() -> None:
    options, started = parsed(), time.monotonic()
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]
    if options.packages:
        sys.path.insert(0, str(options.packages.resolve()))
    # So that the libraries which ask for a GPU when they are imported do not touch it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    missing = [name for module, name in NEEDED.items() if find_spec(module) is None]
    if missing:
        sys.exit(
            f"error: without {', '.join(missing)}\nhint: pip install --target packages "
            f"{' '.join(missing)}, and --packages packages"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    from gpu_parts import correct, layers, sample, train  # noqa: F401  # once, before the forks

    results: Results = {}
    for number, name in enumerate(options.parts):
        left = 60 * options.minutes - (time.monotonic() - started)
        share = SHARES[name] / sum(SHARES[each] for each in options.parts[number:])
        results[name] = timed_part(name, options, max(1.0, share * left))
        text = json.dumps(results, indent=1)
        (options.out / "gpu.json").write_text(text + "\n", encoding="utf-8")
        (options.out / "gpu.md").write_text(as_markdown(results), encoding="utf-8")
        print(as_markdown({name: results[name]}), flush=True)
        if name == "machine" and results[name]["error"].startswith("RuntimeError: no GPU"):
            sys.exit(1)
    if any(part["error"] for part in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
