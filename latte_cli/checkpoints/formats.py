"""The formats that weights are converted to, and how they are chosen."""

from pathlib import Path
from typing import Literal, get_args

from latte_cli.runtime.errors import ConfigError

Format = Literal["latte", "pt", "safetensors", "diffusers", "pipeline", "lora"]

FOLDERS: tuple[Format, ...] = ("latte", "diffusers", "pipeline", "lora")
"""Those that are folders; the others are files."""

_SUFFIXES: dict[str, Format] = {".pt": "pt", ".pth": "pt", ".safetensors": "safetensors"}
_OTHER_FILES = (".ckpt", ".bin", ".pkl", ".pickle", ".npz", ".npy", ".h5", ".onnx", ".gguf", ".zip")


def parse_format(name: str | None) -> Format | None:
    """A format by its name.

    Raises:
        ConfigError: if there is no such format.
    """
    formats: dict[str, Format] = {form: form for form in get_args(Format)}
    if name is None or name in formats:
        return None if name is None else formats[name]
    raise ConfigError(f"--to {name} is unknown", hint=f"known: {', '.join(formats)}")


def target_format(target: Path, form: Format | None) -> Format:
    """The format to convert to: as given, or by the suffix; without a suffix, a latte folder.

    Args:
        target: file or folder to write.
        form: given by `--to`; None: by the suffix.

    Raises:
        ConfigError: if the two do not go together, or weights are not written as such files.
    """
    suffix = target.suffix.lower()
    by_suffix = _SUFFIXES.get(suffix)
    if form is not None and by_suffix not in (None, form):
        raise ConfigError(
            f"{target} has the suffix of {by_suffix}, but --to is {form}",
            hint="leave --to out, or name a folder",
        )
    if form in ("pt", "safetensors") and by_suffix is None:
        raise ConfigError(
            f"{target} does not end in .{form}", hint=f"name it with the suffix, {target}.{form}"
        )
    # `--to latte out.v2` is a folder; `out.ckpt` would be one that looks like a file.
    is_unknown = suffix in _OTHER_FILES or (form is None and suffix[1:2].isalpha())
    if by_suffix is None and is_unknown:
        raise ConfigError(
            f"{target}: weights are not written as `{target.suffix}`",
            hint=f"known endings: {', '.join(_SUFFIXES)}; a name without an ending is a folder"
            + ("" if suffix in _OTHER_FILES else ", and so is any name with --to latte"),
        )
    return form or by_suffix or "latte"
