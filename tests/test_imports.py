"""The floors of the house: imports point down only, and the front is quick to open."""

import ast
import subprocess
import sys
from pathlib import Path

import latte_cli

PACKAGE = Path(latte_cli.__file__).parent
FLOORS = {
    "cli": 4,
    "cli_eval": 4,
    "eval_options": 4,
    "cli_drawing": 4,
    "drawing_options": 4,
    "cli_tools": 4,
    "front": 4,
    "__main__": 4,
    "commands": 3,
    "generation": 2.5,
    "step_caching": 2.5,
    "text_to_video": 2.5,
    "text_pipeline": 2.5,
    "trained": 2.5,
    "first_frame": 2.5,
    "label_turns": 2.5,
    "long_video": 2.5,
    "sample_plan": 2.5,
    "text_plan": 2.5,
    "training": 2.5,
    "analysis": 2.5,
    "evaluation": 2.5,
    "data": 2,
    "sources": 2,
    "models": 2,
    "diffusion": 2,
    "metrics": 2,
    "vae": 2,
}  # everything else is a leaf, floor 1
LOWER_FIRST = ["vae", "data", "sources"]  # inside floor 2, each may import those before it
STRANGERS = {"models": "diffusion", "diffusion": "models"}  # they meet in floor 2.5
NO_TORCH = ["config", "preset_files", "schema", "locations", "errors", "console", "front"]


def _imports(path: Path) -> list[tuple[str, bool]]:
    """Rooms of this package that a file imports, and whether for type checking only."""
    tree = ast.parse(path.read_text())
    typing_only = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for node in ast.walk(branch)
    }
    found = []
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        found += [(module, node in typing_only) for module in modules]
    return found


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_imports_point_down():
    for path in PACKAGE.rglob("*.py"):
        room = _room(path)
        for module, typing_only in _imports(path):
            parts = module.split(".")
            if parts[0] != "latte_cli" or len(parts) < 2 or typing_only or parts[1][0] == "_":
                continue
            target = parts[1]
            assert STRANGERS.get(room) != target, f"{path} imports {module}"
            if room == target:
                own = path.stem == "__init__"
                assert room != "commands" or own, f"{path}: a command imports another"
                continue
            ours, theirs = FLOORS.get(room, 1), FLOORS.get(target, 1)
            assert theirs <= ours, f"{path} (floor {ours}) imports {module} (floor {theirs})"
            if ours == theirs == 2:
                assert LOWER_FIRST.index(target) < LOWER_FIRST.index(room), f"{path}: {module}"


def test_leaves_that_must_be_quick_import_no_torch():
    for name in NO_TORCH:
        modules = {module.split(".")[0] for module, _ in _imports(PACKAGE / f"{name}.py")}
        assert not modules & {"torch", "diffusers", "transformers", "einops"}


def test_help_opens_without_the_heavy_libraries():
    script = (
        "import sys; from typer.testing import CliRunner; from latte_cli.cli.application import app;"
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0, result.output;"
        "print([m for m in ('torch', 'diffusers', 'transformers', 'numpy', 'pydantic', 'av')"
        " if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"
