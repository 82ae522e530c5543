"""The commands that README shows, in any order and twice, in one folder."""

from conftest import HERE, invoke
from helpers.readme_commands import ELSEWHERE, OTHERS, README, shown_in, take, walk

SHAPES = [command for command in README + OTHERS if "shapes" in command.words]
QUICK = [command for command in SHAPES if not command.words.startswith(("similarity", "calibrate"))]


def run(*words):
    result = invoke(*words)
    known = result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output + ("" if known else f"Traceback: {result.exception!r}")


def test_the_walks_know_every_command_of_readmes_blocks():
    shown = shown_in((HERE.parent / "README.md").read_text(encoding="utf-8"))
    assert len(shown) > 20
    assert shown <= {command.shown for command in README} | ELSEWHERE.keys()


def wrong_steps(commands, seed, rounds):
    taken = []
    for step in walk(commands, seed, rounds):
        taken.append(step.command.words)
        if wrong := take(step, run):
            yield "\n".join([*taken, wrong])


def test_shapes_of_any_number_and_seed_in_any_order(tmp_path):
    """All commands of README are walked over by `tests/recipes/walk_commands.py`."""
    assert not list(wrong_steps(QUICK, seed=1, rounds=1))
