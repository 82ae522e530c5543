"""An unpickler that runs no code of the file: it makes tensors, containers and placeholders.

torch's own reader of plain tensors (`weights_only`) refuses a file for any other object in it, such
as the command line that a run was started with. Here such objects become `Foreign`.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import torch
from torch import Tensor

_PROGRAM = "constants.pkl"  # the member by which torch.load takes an archive for a program
_TAR_MAGIC = slice(257, 262)

_PROCESSES = {"commands", "nt", "os", "posix", "pty", "runpy", "signal", "subprocess", "sys"}
_DANGEROUS_MODULES = _PROCESSES | {"ctypes", "importlib", "shutil", "socket", "webbrowser"}
_DANGEROUS_BUILTINS = {"__import__", "compile", "eval", "exec", "execfile", "open"}


class DangerousPickleError(pickle.UnpicklingError):
    """A pickle that names what no file of weights needs; the message is that name."""


class Foreign:
    """Stands for an object whose class is not loaded. It holds what the file says of it.

    Attributes:
        name: of its class, with the module.
        entries: what it holds as a mapping.
        state: its attributes.
    """

    name = "object"
    dump_patches = False  # torch.load asks classes of modules for it

    def __new__(cls, *_: Any, **__: Any) -> "Foreign":
        """Take any arguments."""
        made = super().__new__(cls)
        made.entries, made.state = {}, {}
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        self.entries: dict[Any, Any]
        self.state: dict[str, Any]

    def __call__(self, *_: Any, **__: Any) -> "Foreign":
        """Stand for a function, too."""
        return Foreign()

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def append(self, item: Any) -> None:
        """Drop an item of a list, or items."""

    extend = add = append


def load_without_code(path: Path) -> Any:
    """What a file of torch.save holds, on the CPU, with `Foreign` for what is no plain data.

    Raises:
        DangerousPickleError: if it names functions that would run commands or open files.
        Exception: any other, if the file is damaged or of another format.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head[_TAR_MAGIC] == b"ustar" or not head.startswith((b"PK", b"\x80")):
        raise pickle.UnpicklingError("not in a format of torch.save")
    if head.startswith(b"PK"):
        reader: Any = torch._C.PyTorchFileReader(str(path))
        if _PROGRAM in reader.get_all_records():
            raise pickle.UnpicklingError("a TorchScript program")
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_PICKLE)


class _Unpickler(pickle.Unpickler):
    """Resolves names to the functions below, or to classes that do nothing."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for; no module is imported."""
        package = module.partition(".")[0]
        module = {"__builtin__": "builtins"}.get(module, module)
        is_builtin = module in ("builtins", "io", "_io")
        if package in _DANGEROUS_MODULES or (
            is_builtin and name.partition(".")[0] in _DANGEROUS_BUILTINS
        ):
            raise DangerousPickleError(f"{module}.{name}")
        if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        full = f"{module}.{name}"
        if full in _ALLOWED:
            return _Function(_ALLOWED[full])
        return type(name, (Foreign,), {"name": full})


class _Function:
    """A function that a pickle may call, and not change."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, _: Any) -> None:
        raise pickle.UnpicklingError("a function has no state")


def _rebuild_tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    rebuilt: Tensor = torch._utils._rebuild_tensor(storage, offset, size, stride)
    return rebuilt


_ALLOWED: dict[str, Callable[..., Any]] = {
    "_codecs.encode": lambda text, _="latin1": str(text).encode("latin1"),
    "builtins.frozenset": frozenset,
    "builtins.set": set,
    "collections.OrderedDict": OrderedDict,
    "torch.Size": torch.Size,
    "torch.device": lambda *_: torch.device("cpu"),
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    # A tensor with attributes of its own, or of a subclass: the plain tensor in it.
    "torch._tensor._rebuild_from_type_v2": lambda rebuild, _, args, __: rebuild(*args),
}


def _load(file: IO[bytes], **options: Any) -> Any:
    return _Unpickler(file, **options).load()


_PICKLE = SimpleNamespace(__name__=__name__, Unpickler=_Unpickler, load=_load)
"""As torch.load takes a module to unpickle with."""
