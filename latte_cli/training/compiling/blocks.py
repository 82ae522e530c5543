"""Blocks under `torch.compile`: where it can be had, and switching it on and off."""

import os
import sys
import sysconfig
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from tempfile import gettempdir

import torch

from latte_cli.models import Latte, LatteT2V
from latte_cli.models.text_layers import PLAIN_HALVES, Halves, TextBlock
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.files import cache_folder

_CACHE = "TORCHINDUCTOR_CACHE_DIR"


def should_compile(how: str, device: torch.device) -> bool:
    """Whether to compile the blocks from the start; `auto` does on a GPU with Triton and C.

    On a GPU Triton writes kernels and a C compiler builds their launchers. For the CPU PyTorch
    writes C++, which takes a minute: there `auto` is settled later, by `settle_compiling`.

    Args:
        how: `train.compile`.
        device: of the network.

    Raises:
        ConfigError: if it is `blocks`, and there is no compiler.
    """
    if how == "none" or (how == "auto" and device.type != "cuda"):
        return False
    language, variable, names = _compilers(device)
    found = any(which(name) for name in names)
    if how == "auto":
        return found and find_spec("triton") is not None
    if not found:
        raise ConfigError(
            f"train.compile is blocks, which needs a {language} compiler: there is no "
            f"{' or '.join(names)}",
            hint=f"install one, set {variable} to one, or give -o train.compile=none",
        )
    return True


def can_compile_on_cpu() -> bool:
    """Whether there is a C++ compiler, and the headers of Python that Inductor's code includes."""
    _, _, names = _compilers(torch.device("cpu"))
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return any(which(name) for name in names) and headers.is_file()


def _compilers(device: torch.device) -> tuple[str, str, list[str]]:
    """The language, the variable that names a compiler, and the compilers that are looked for."""
    if device.type == "cuda":
        language, variable, usual = "C", "CC", ["gcc", "clang"]
    else:  # as Inductor looks for them
        language, variable = "C++", "CXX"
        usual = [{"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")]
    return language, variable, [os.environ[variable]] if variable in os.environ else usual


def compile_blocks(model: Latte | LatteT2V) -> None:
    """Compile the blocks when they are next called; what is compiled is kept for later runs.

    Each size of input is compiled for itself: if a second size led to code for all sizes, losses
    would depend on which sizes this process has seen, and a resumed run has seen fewer. Captions
    have too many lengths for that, so attention to text is left as it is.
    """
    _keep_what_is_compiled()
    for block in model.blocks:
        if isinstance(block, TextBlock) and block.attn2 is not None:
            block.halves = _compiled_halves()
        else:
            block.compile(dynamic=False)


@cache
def _compiled_halves() -> Halves:
    """Code for all blocks: those that differ in weights alone share it."""
    return Halves(*(torch.compile(half, dynamic=False) for half in PLAIN_HALVES))


def _keep_what_is_compiled() -> None:
    """Move Inductor's cache from the folder of temporary files, unless the user has named one.

    PyTorch sets its own default in the environment when Dynamo is imported.
    """
    given, temporary = os.environ.get(_CACHE), Path(gettempdir()) / "torchinductor_"
    if given is not None and not os.path.abspath(given).startswith(str(temporary)):
        return
    with suppress(OSError):  # where nothing can be written, PyTorch's default is kept
        folder = cache_folder() / "inductor"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[_CACHE] = str(folder)


def uncompile_blocks(model: Latte | LatteT2V) -> None:
    """Undo `compile_blocks`."""
    for block in model.blocks:
        block._compiled_call_impl = None  # what `compile` sets; it has no inverse
        if isinstance(block, TextBlock):
            block.halves = PLAIN_HALVES


def is_compiled(model: Latte | LatteT2V) -> bool:
    """Whether `compile_blocks` was called."""
    return any(block._compiled_call_impl is not None for block in model.blocks)
