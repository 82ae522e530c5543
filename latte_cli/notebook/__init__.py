"""The way in from Python and notebooks: five functions that do what the commands do."""

from latte_cli.notebook.commands import evaluate, sample, train
from latte_cli.notebook.display import Video, show
from latte_cli.notebook.pipeline import Pipeline, load

__all__ = ["Pipeline", "Video", "evaluate", "load", "sample", "show", "train"]
