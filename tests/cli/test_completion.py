"""What the shell offers: the words, also as bash asks for them, and without loading torch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.main import get_command

from latte_cli.cli import app
from latte_cli.cli.setup import completion
from latte_cli.config import known_keys, load_config, preset_names
from latte_cli.data.manifest import write_dataset
from latte_cli.sources import DATASETS
from latte_cli.sources.shapes import CLASSES


def offered(complete, incomplete="", **params):
    """The words that are offered, without their meanings."""
    words = complete(SimpleNamespace(params=params), incomplete)
    return [word if isinstance(word, str) else word[0] for word in words]


def in_bash(*words):
    """What the command line offers bash for the last of these words, after `latte`."""
    environment = {**os.environ, "_LATTE_COMPLETE": "complete_bash"}
    environment |= {"COMP_WORDS": "\n".join(["latte", *words]), "COMP_CWORD": str(len(words))}
    script = "import sys; sys.argv[0] = 'latte'; from latte_cli.cli import main; main()"
    shown = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert not shown.stderr
    return shown.stdout.split()


def test_presets_are_offered_with_what_they_are_for():
    Path("cats.yaml").write_text("base: folder\ndescription: My cats.\n")
    Path("other.yaml").write_text("services: {}\n")
    shipped = [name for name in preset_names() if "/" not in name]
    assert offered(completion.presets) == [*shipped, "cats"]
    assert offered(completion.presets, "studies/variant-") == [
        f"studies/variant-{n}" for n in range(1, 7)
    ]
    words = dict(completion.presets(SimpleNamespace(params={}), ""))
    assert words["cats"] == "My cats."
    assert words["folder"] == load_config("folder").description


def test_data_sets_runs_and_checkpoints_are_those_on_disk(world):
    assert offered(completion.datasets, "s") == [name for name in DATASETS if name[0] == "s"]
    data, runs = world.root / "data", world.root / "runs"
    assert offered(completion.prepared, data_root=data) == [str(data / "shapes")]
    assert offered(completion.runs, runs_root=runs) == ["shapes"]
    found = offered(completion.checkpoints, str(runs), runs_root=runs)
    steps = sorted((world.run / "checkpoints").iterdir(), reverse=True)
    assert found == [str(world.run), *map(str, steps)]
    for complete in (completion.prepared, completion.runs):
        assert offered(complete) == []


@pytest.mark.parametrize("given", ["preset", "run", "checkpoint"])
def test_labels_are_the_classes_of_what_is_named(world, given):
    value = {"preset": "shapes", "run": "shapes", "checkpoint": str(world.run)}[given]
    words = offered(completion.labels, "0", **{given: value}, runs_root=world.root / "runs")
    assert words == [name for name in CLASSES if name.startswith("0")]


def test_labels_of_a_preset_without_a_network_are_those_of_its_data():
    write_dataset(Path("data/folder"), [], [], ["big", "small"])
    assert offered(completion.labels, preset="folder") == ["big", "small"]


def test_keys_are_offered_and_for_a_whole_key_its_values():
    assert offered(completion.overrides) == list(known_keys())
    assert offered(completion.overrides, "train.lr") == ["train.lr", "train.lr_schedule"]
    both = ["train.optimizer=adamw", "train.optimizer=muon"]
    assert offered(completion.overrides, "train.opt") == both
    assert offered(completion.overrides, "train.optimizer=m") == both[1:]
    assert offered(completion.overrides, "data.flip=") == ["data.flip=true", "data.flip=false"]
    assert offered(completion.overrides, "train.lr=", preset="folder") == ["train.lr=0.0005"]
    assert "model.size=null" in offered(completion.overrides, "model.size=")
    assert offered(completion.overrides, "nothing.of=") == []
    meanings = dict(completion.overrides(SimpleNamespace(params={}), "train.lr"))
    assert meanings["train.lr"] == "learning rate"


@pytest.mark.parametrize("key", known_keys())
def test_every_value_that_is_offered_is_one(key):
    for word in offered(completion.overrides, f"{key}="):
        name, _, value = word.partition("=")
        assert name == key
        assert value


def test_metrics_are_completed_one_by_one():
    assert offered(completion.metrics, "fvd,k") == ["fvd,kvd", "fvd,kid"]
    assert "fvd,fvd" not in offered(completion.metrics, "fvd,f")


def test_damaged_files_offer_nothing_and_say_nothing():
    Path("mine.yaml").write_text("base: [\n")
    assert offered(completion.labels, preset="mine") == []
    assert offered(completion.overrides, "train.lr=", preset="mine") == []


def test_bash_is_answered_also_for_a_value_that_it_takes_for_a_word_of_its_own():
    Path("folder.yaml").write_text("base: folder\n")  # a command would say which of the two it is
    assert in_bash("presets", "fold") == ["folder"]
    assert in_bash("train", "-o", "train.optimizer", "=", "m") == ["muon"]
    assert in_bash("train", "-o", "train.optimizer", "=") == ["adamw", "muon"]


def test_answers_do_not_load_the_heavy_libraries(world):
    script = (
        "import sys, json; from types import SimpleNamespace\n"
        "from latte_cli.cli import app; from latte_cli.cli.setup import completion as c\n"
        f"params = {{'runs_root': {str(world.root / 'runs')!r}, 'run': 'shapes'}}\n"
        "ctx = SimpleNamespace(params=params)\n"
        "names = ['presets', 'datasets', 'runs', 'checkpoints', 'labels', 'overrides']\n"
        "assert all(getattr(c, name)(ctx, '') for name in names)\n"
        "heavy = ('torch', 'numpy', 'diffusers', 'transformers', 'av')\n"
        "print(json.dumps([m for m in heavy if m in sys.modules]))\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert json.loads(shown.stdout) == [], shown.stderr


def test_every_option_for_a_preset_a_run_or_a_key_is_completed():
    kinds = {"preset", "base", "checkpoint", "run", "override", "label", "metrics", "curve"}
    for name, command in get_command(app).commands.items():
        for parameter in command.params:
            if parameter.name in kinds and parameter.param_type_name == "option":
                assert parameter._custom_shell_complete is not None, (name, parameter.name)
