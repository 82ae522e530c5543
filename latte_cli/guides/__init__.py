"""The guides: Markdown pages for the terminal and the forge, and a script for notebooks."""

import difflib
from pathlib import Path

from latte_cli.runtime.errors import ConfigError

FOLDER = Path(__file__).parent

TOPICS = {
    "from-python": "Sample, train and evaluate from Python, and show clips in a notebook",
}
"""What each page tells, in the order of reading; the page of a topic is TOPIC.md."""

SCRIPT = FOLDER / "from-python.py"
"""The script of the page from-python, with `# %%` between its cells."""


def read_page(topic: str) -> str:
    """The text of a page, in Markdown.

    Raises:
        ConfigError: if there is no such page; names the nearest.
    """
    if topic not in TOPICS:
        near = difflib.get_close_matches(topic, TOPICS, n=1, cutoff=0.4)
        raise ConfigError(
            f"there is no guide `{topic}`",
            hint=(f"did you mean `latte guide {near[0]}`? " if near else "")
            + "`latte guide` lists the topics",
        )
    return (FOLDER / f"{topic}.md").read_text(encoding="utf-8")
