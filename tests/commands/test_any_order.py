"""The commands that README and the guides show, in any order and twice, in one folder."""

from conftest import HERE, invoke
from helpers.readme_commands import (
    ELSEWHERE,
    OTHERS,
    README,
    shown_in,
    take,
    walk,
    write_inputs,
)

from latte_cli import guides

SHAPES = [command for command in README + OTHERS if "shapes" in command.words]
QUICK = [command for command in SHAPES if not command.words.startswith(("similarity", "calibrate"))]


def run(*words):
    result = invoke(*words)
    known = result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output + ("" if known else f"Traceback: {result.exception!r}")


def test_the_walks_know_every_command_of_readme_and_the_guides_and_no_other():
    pages = [HERE.parent / "README.md", *guides.FOLDER.glob("*.md")]
    shown = {word for page in pages for word in shown_in(page.read_text(encoding="utf-8"))}
    assert len(shown) > 40
    assert shown == {command.shown for command in README} | ELSEWHERE.keys()


def wrong_steps(commands, seed, rounds):
    taken = []
    for step in walk(commands, seed, rounds):
        taken.append(step.command.words)
        if wrong := take(step, run):
            yield "\n".join([*taken, wrong])


def test_shapes_of_any_number_and_seed_in_any_order(tmp_path):
    """All commands are walked over by `tests/recipes/walk_commands.py`."""
    write_inputs(tmp_path)
    assert not list(wrong_steps(QUICK, seed=1, rounds=1))
