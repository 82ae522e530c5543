"""The floors of the house: imports point down only, no folder overflows, help is quick to open."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import latte_cli

PACKAGE = Path(latte_cli.__file__).parent
FLOORS = [  # from top to bottom; packages of one floor do not import each other
    {"__main__"},
    {"notebook"},
    {"cli"},
    {"commands"},
    {"reporting", "diagnosis"},
    {"training"},
    {"evaluation"},
    {"sampling"},
    {"sources", "caching"},
    {"data", "models"},
    {"vae", "metrics", "checkpoints"},
    {"video_io", "diffusion", "text", "config", "guides"},
    {"runtime"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(reversed(FLOORS)) for room in rooms}
BESIDE = {"__init__.py", "__main__.py", "assets", "presets", "py.typed", "__pycache__"}
MOST_MODULES = 14  # in a folder, `__init__` not counted
MOST_ARROWS = 110  # between packages; `diagnosis` looks at all
STRANGERS = {"models", "diffusion"}  # they meet in sampling and training
QUICK = ["runtime/console.py", "runtime/errors.py", "config/schema.py", "config/loading.py"]

MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if "-" not in path.stem  # a script, which no module can import
}


def _imports(path: Path) -> set[str]:
    """Modules of this package that a file imports when it runs, at the top or inside functions."""
    tree = ast.parse(path.read_text())
    typing_only = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for node in ast.walk(branch)
    }
    found = set()
    for node in set(ast.walk(tree)) - typing_only:
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {part if part in MODULES else node.module for part in parts}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & MODULES.keys()


def _room(module: str) -> str:
    return module.split(".")[1]


def _arrows() -> list[tuple[str, str]]:
    """Every import between two modules, as (importer, imported)."""
    return [
        (module, target)
        for module, path in MODULES.items()
        for target in _imports(path)
        if "latte_cli" not in (module, target)
    ]


def test_the_top_floor_holds_packages_only():
    there = {path.name for path in PACKAGE.iterdir()}
    assert there - BESIDE == FLOOR_OF.keys() - {"__main__"}


def test_imports_point_down():
    wrong = [
        f"{module} imports {target}"
        for module, target in _arrows()
        if _room(module) != _room(target) and FLOOR_OF[_room(target)] >= FLOOR_OF[_room(module)]
    ]
    assert not wrong


def test_networks_and_diffusion_do_not_know_each_other():
    assert not [pair for pair in _arrows() if {_room(m) for m in pair} == STRANGERS]


def test_commands_do_not_import_each_other():
    rooms = [pair for pair in _arrows() if {_room(module) for module in pair} == {"commands"}]
    assert not [pair for pair in rooms if "latte_cli.commands" not in pair]


def test_no_circles():
    """Between modules, a package's `__init__` aside: it names what its own modules define."""
    below = defaultdict(set)
    for module, target in _arrows():
        if MODULES[module].name != "__init__.py" and MODULES[target].name != "__init__.py":
            below[module].add(target)
    tuple(TopologicalSorter(below).static_order())  # raises CycleError, which names the circle


def test_few_arrows_between_packages():
    arrows = {(_room(module), _room(target)) for module, target in _arrows()}
    assert len([1 for above, below in arrows if above != below]) <= MOST_ARROWS


def test_no_folder_overflows_and_each_says_what_it_is_for():
    for folder in {path.parent for path in MODULES.values()}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MOST_MODULES or folder.name == "commands", folder
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def test_modules_that_must_be_quick_import_no_torch():
    for name in QUICK:
        tree = ast.parse((PACKAGE / name).read_text())
        names = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {n.split(".")[0] for n in names if n} & {"torch", "diffusers", "transformers"}


def test_help_opens_without_the_heavy_libraries():
    script = (
        "import sys; from typer.testing import CliRunner; from latte_cli.cli import app;"
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0, result.output;"
        "print([m for m in ('torch', 'diffusers', 'transformers', 'numpy', 'pydantic', 'av')"
        " if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"


def test_readme_and_contributing_show_every_package():
    root = PACKAGE.parent
    tree = re.findall(r"^  (\w+)/ ", (root / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(tree) == {name for rooms in FLOORS for name in rooms} - {"__main__"} | {"assets"}
    contributing = (root / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (drawn,) = re.findall(r"```\n(notebook > .*?)\n```", contributing, re.DOTALL)
    floors = [{name.strip() for name in floor.split(",")} for floor in drawn.split(">")]
    assert floors == FLOORS[1:]
