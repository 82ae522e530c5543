"""The guides: Markdown pages for the terminal and the forge, and a script for notebooks."""

import difflib
import re
from pathlib import Path

from latte_cli.runtime.errors import ConfigError

FOLDER = Path(__file__).parent

TOPICS = {
    "own-videos": "From a folder of videos to new clips",
    "own-preset": "A preset of your own, and which values to choose",
    "paper-data-sets": "UCF101, SkyTimelapse, FaceForensics and Taichi-HD, as in the paper",
    "sampling": "Labels, seeds, speed, long clips, and where files go",
    "from-text": "Videos from sentences with Latte-1, and VBench",
    "own-captions": "Training a text-to-video network on your own captions, and LoRA",
    "long-training": "Stop, resume, watch and repair a run of days; which average to keep",
    "several-machines": "torchrun, sharding, separate processes, Slurm",
    "ray": "Ray clusters by ssh, with Slurm and on Kubernetes",
    "elsewhere": "Data and runs at s3://, and their cost",
    "numbers": "FVD and other metrics that can be compared",
    "designs": "The designs that the paper compares, FrameDiT, and what each costs",
    "newer-recipes": "Rectified flow, sampling in few steps, Muon, routing",
    "other-weights": "Published weights, conversion, other sizes and autoencoders",
    "from-python": "The same from scripts and notebooks",
    "troubleshooting": "What to do about an error message, or about poor clips",
    "inside": "The networks that ship with the package, and what tests guarantee",
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
        near = [known for known in TOPICS if topic in known]
        near = near or difflib.get_close_matches(topic, TOPICS, n=1)
        raise ConfigError(
            f"there is no guide `{topic}`",
            hint=(f"did you mean `latte guide {near[0]}`? " if near else "")
            + "`latte guide` lists the topics",
        )
    return (FOLDER / f"{topic}.md").read_text(encoding="utf-8")


def for_terminal(page: str) -> str:
    """A page whose links to other pages are the commands that show them."""
    return re.sub(r"\[([^]]*)\]\(([a-z-]+)\.md\)", r"\1 (`latte guide \2`)", page)


def copy_pages(folder: Path) -> list[Path]:
    """Write all pages and the script into a folder; pages that are there are replaced.

    Returns:
        What was written.
    """
    from latte_cli.runtime.files import write_text  # slow to import, for the help

    pages = [FOLDER / f"{topic}.md" for topic in TOPICS]
    for page in [*pages, SCRIPT]:
        write_text(folder / page.name, page.read_text(encoding="utf-8"))
    return [folder / page.name for page in [*pages, SCRIPT]]
