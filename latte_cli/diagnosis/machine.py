"""Python and its libraries, the device with its precision and memory, threads and disks."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import torch

from latte_cli import __version__
from latte_cli.diagnosis.finding import Finding
from latte_cli.runtime.console import format_bytes
from latte_cli.runtime.cpus import compute_threads, usable_cpus
from latte_cli.runtime.devices import (
    device_name,
    has_bf16,
    memory_limit,
    pick_device,
    resolve_precision,
)

PART = "machine"
DISTRIBUTION = "latte-cli"

_LIBRARIES = ("diffusers", "transformers", "numpy", "safetensors")
_LITTLE_MEMORY, _LITTLE_DISK, _FULL_DISK = 4e9, 10e9, 1e9
_BUSY = 1.5  # running processes per processor
_MATRIX_UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16 (dot products, no matrix units)"}
_TENSOR_CORES = (7, 0)  # from this compute capability on


def check_python() -> Iterator[Finding]:
    """The versions of this project, Python, the system and the libraries."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Finding(PART, "latte", "ok", __version__)
    yield Finding(PART, "Python", "ok", f"{platform.python_version()} on {system}")
    versions = [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
    yield Finding(PART, "libraries", "ok", ", ".join(versions))
    for requirement, found in _unsuitable():
        mend = f'{Path(sys.executable).name} -m pip install "{requirement}"'
        text = f"{found}, but latte needs {requirement}"
        yield Finding(PART, "libraries", "error", text, mend)


def _unsuitable() -> Iterator[tuple[str, str]]:
    """Libraries that are missing or of another version than this project declares."""
    from packaging.requirements import Requirement

    try:
        declared = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return
    for requirement in map(Requirement, declared):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        wanted = f"{requirement.name}{requirement.specifier}"
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield wanted, f"{requirement.name} is missing"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield wanted, f"{requirement.name} is {version}"


def check_device() -> Iterator[Finding]:
    """Which device computes, and whether a better one is left unused."""
    device = pick_device()
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    yield Finding(PART, "torch", "ok", f"{torch.__version__}, built {build}")
    names = [device_name(device)]
    if device.type == "cuda":
        count = torch.cuda.device_count()
        names = [torch.cuda.get_device_name(number) for number in range(count)]
    yield Finding(PART, "device", "ok", f"{device.type}: {', '.join(names)}")
    if device.type == "cuda":
        return
    if shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").is_dir():
        why = "this torch is built without CUDA" if not torch.version.cuda else "CUDA cannot use it"
        mend = "install torch by the command that pytorch.org gives for your CUDA"
        if torch.version.cuda:
            mend = "`nvidia-smi` shows the driver, which must suit the CUDA that torch is built for"
        yield Finding(PART, "GPU", "warning", f"there is an NVIDIA GPU, but {why}", mend)
    elif torch.backends.mps.is_available():
        text = "Apple's GPU (MPS) is there and not used: training and sampling run on the CPU"
        yield Finding(PART, "GPU", "warning", text, "nothing to do; small networks run well so")


def check_precision() -> Iterator[Finding]:
    """Whether bf16 is fast, by which units, and what `auto` chooses."""
    device = pick_device()
    dtype = str(resolve_precision("auto", device)).removeprefix("torch.")
    chosen = f"precision `auto` is {'bf16' if dtype == 'bfloat16' else dtype}"
    bf16 = "bf16 is fast" if has_bf16(device) else "bf16 is not fast"
    yield Finding(PART, "bf16", "ok", f"{bf16}; {chosen}")
    yield Finding(PART, "matrix units", "ok", _matrix_units(device))


def _matrix_units(device: torch.device) -> str:
    """The units that multiply matrices, as far as the system tells."""
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        version = ".".join(map(str, capability))
        has = "tensor cores" if capability >= _TENSOR_CORES else "no tensor cores"
        return f"{has} (compute capability {version})"
    vectors = torch.backends.cpu.get_cpu_capability()
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:  # macOS, Windows
        return f"unknown on {platform.system()}; torch computes by {vectors}"
    known = [name for flag, name in _MATRIX_UNITS.items() if flag in flags]
    return f"{', '.join(known) or 'none'}; torch computes by {vectors}"


def check_load() -> Iterator[Finding]:
    """Threads and memory, and whether other programs take both."""
    threads, cores = torch.get_num_threads(), compute_threads()
    text = f"{threads} for arithmetic, of {cores} cores; {usable_cpus()} processors"
    if threads < cores:
        mend = "unset OMP_NUM_THREADS, which limits them"
        yield Finding(PART, "threads", "warning", text, mend)
    else:
        yield Finding(PART, "threads", "ok", text)
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > _BUSY * usable_cpus():
        text = f"{load:.1f} processes run on {usable_cpus()} processors"
        mend = "speeds measured now will be too low: wait for the others, or end them"
        yield Finding(PART, "load", "warning", text, mend)
    device = pick_device()
    limit = memory_limit(device)
    text = f"{format_bytes(limit)} that a run can use, on {device.type}"
    little = "close other programs, or train with a smaller train.batch_size"
    short = limit < _LITTLE_MEMORY
    yield Finding(PART, "memory", "warning" if short else "ok", text, little if short else "")


def check_disks(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Free space, and whether it may be written to, of each disk that some folders are on.

    Args:
        folders: by what they hold.
    """
    named = {**folders, "temporary files": Path(tempfile.gettempdir())}
    by_disk: dict[int, list[str]] = {}
    above = {what: _existing(path.absolute()) for what, path in named.items()}
    for what, path in above.items():
        by_disk.setdefault(path.stat().st_dev, []).append(what)
    for users in by_disk.values():
        free = shutil.disk_usage(above[users[0]]).free
        text = f"{format_bytes(free)} free for {', '.join(users)}"
        mend = "" if free >= _LITTLE_DISK else "make room: a checkpoint of XL takes 11 GB"
        status = "ok" if free >= _LITTLE_DISK else "warning" if free >= _FULL_DISK else "error"
        yield Finding(PART, "disk", status, text, mend)  # type: ignore[arg-type]  # one of three
    for what, path in above.items():
        if not os.access(path, os.W_OK):
            mend = "run the commands in a folder of your own, or name others by --data-root, "
            mend += "--latents-root and --runs-root"
            yield Finding(PART, "disk", "error", f"{path}, for {what}, is not writable", mend)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())
