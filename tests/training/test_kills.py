"""SIGKILL in the middle: two kills here, thirty by tests/recipes/kill_train.py."""

import json
import subprocess
import sys
from pathlib import Path

RECIPE = Path(__file__).parent.parent / "recipes" / "kill_train.py"


def test_killed_runs_end_as_the_undisturbed_one_bit_for_bit(world):
    """At a random moment, and while a checkpoint is being written."""
    small = ("--kills=2", "--steps=6", "--width=32", f"--latents={world.root / 'latents'}")
    words = [sys.executable, str(RECIPE), *small]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["kills"] == 2
