"""Latte: latent diffusion transformers for video generation (arXiv 2401.03048).

    from latte_cli import load, sample, show, train, evaluate

`latte guide from-python` shows how they are used.
"""

from typing import TYPE_CHECKING

# Imported when they are first used: the command line must start quickly.
if TYPE_CHECKING:
    from latte_cli.notebook import evaluate, load, sample, show, train

__version__ = "0.2.0.dev0"

__all__ = ["__version__", "evaluate", "load", "sample", "show", "train"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from latte_cli import notebook

    return getattr(notebook, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
