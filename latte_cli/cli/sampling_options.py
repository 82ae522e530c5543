"""What the options of drawing say: prompts, sizes, values of the configuration and places."""

from pathlib import Path
from typing import TYPE_CHECKING

from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.text.prompts import Prompt


def values_and_place(given: list[str] | None, out: Path | None) -> tuple[list[str], Path | None]:
    """`-o` values of the configuration, and where clips go: what has no `=` is a path.

    Raises:
        ConfigError: if there are several places, or the key of a value stands for one.
    """
    from latte_cli.config import known_keys

    values = [word for word in given or () if "=" in word]
    places = [Path(word) for word in given or () if "=" not in word] + ([out] if out else [])
    known = known_keys()
    if keys := [word for word in given or () if word in known]:
        raise ConfigError(
            f"`-o {keys[0]}` gives no value",
            hint=f"-o {keys[0]}=VALUE; or -o ./{keys[0]} for a folder of that name",
        )
    if len(places) > 1:
        raise ConfigError(
            f"several places to write to: {', '.join(map(str, places))}", hint="give one"
        )
    return values, places[0] if places else None


def parse_prompts(
    given: list[str] | None, path: Path | None, vbench: Path | None
) -> "tuple[Prompt, ...]":
    """Prompts of the line or of a file; none where VBench's list is asked for.

    Raises:
        ConfigError: if they are given in several ways or none, or the file cannot be read.
    """
    from latte_cli.text.prompts import Prompt, one_line, read_prompts

    ways = bool(given) + (path is not None) + (vbench is not None)
    if ways != 1:
        raise ConfigError(
            "prompts in several ways" if ways else "nothing to draw",
            hint='give a prompt, as "a raccoon playing guitar", or --prompts FILE',
        )
    return tuple(Prompt(one_line(words)) for words in given or ()) or tuple(
        read_prompts(path) if path else ()
    )


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`512` or `384x640`, height first; ConfigError if it is neither."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(
            f"--size {text} is no size", hint="--size 512, or --size 384x640: height first"
        )
    return int(parts[0]), int(parts[-1])


def folder_for_many(out: Path, clips: int, vbench: Path | None) -> Path:
    """The default for one clip is a file, for several the folder `out`."""
    return Path("out") if (clips > 1 or vbench) and out == Path("out.mp4") else out
