"""The presets of the paper's design studies, and the listing of presets and designs."""

import json
import subprocess
import sys

import pytest
import torch
import yaml
from conftest import fail, succeed, tiny
from safetensors.torch import load_file

from latte_cli.commands.presets import _design_overrides
from latte_cli.config import flatten, load_config, preset_names
from latte_cli.config.locations import Locations
from latte_cli.config.preset_files import read_layers
from latte_cli.models import Latte, LatteShape, shape_from_config
from latte_cli.models.designs import count_design

STUDIES = [name for name in preset_names() if name.startswith("studies/")]
ARMS = {
    "patch": ["uniform", "compression"],
    "injection": ["s-adaln", "tokens"],
    "position": ["absolute", "rope"],
    "initialisation": ["scratch", "imagenet"],
    "interval": [1, 2, 3, 4, 8],
    "variant": [1, 2, 3, 4, 5, 6],
    "size": ["s", "b", "l", "xl"],
}
IMAGENET = "studies/initialisation-imagenet"


def own_values(name: str) -> dict[str, object]:
    """The values in a study's own file, without its name and description."""
    own = flatten(read_layers(name)[-1].tree)
    return {key: value for key, value in own.items() if "." in key}


def train(world, name: str, *args: str):
    """Train a small network for one step on the small world's latents."""
    values = {"model__size": "null", "train__steps": 1, "data__flip": "false"}
    options = tiny(**values, vae__path="embedded", data__latents=world.latents)
    return succeed("train", f"--preset={name}", *options, *args)


def test_every_arm_of_every_study_has_a_preset():
    expected = {f"studies/{study}-{arm}" for study, arms in ARMS.items() for arm in arms}
    assert set(STUDIES) == expected | {"studies/base"}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_differs_from_the_base_by_one_value(name):
    """By none where the arm is the base itself, as its description says."""
    base = flatten(load_config("studies/base").model_dump())
    config = load_config(name)
    ours = flatten(config.model_dump())
    differs = {key for key in ours if "." in key and ours[key] != base[key]}
    is_base = name == "studies/base" or config.description.endswith("as the base.")
    assert len(differs) == (0 if is_base else 1)
    assert differs <= set(own_values(name))


def test_the_base_is_faceforensics_with_the_papers_settings_and_no_images():
    """Latte, section 4.2."""
    base, data_set = load_config("studies/base"), load_config("faceforensics")
    assert base.model == data_set.model
    assert base.data.num_images == 0
    assert (base.train.lr, base.train.batch_size, base.train.steps) == (1e-4, 40, 150_000)
    assert base.train.keep * base.train.save_every >= base.train.steps, "the whole curve is kept"


def test_studies_share_data_and_latents_but_not_runs():
    where = Locations()
    configs = [load_config(name) for name in STUDIES]
    data_set = load_config("faceforensics")
    assert {where.data(config) for config in configs} == {where.data(data_set)}
    assert {where.latents(config) for config in configs} == {where.latents(data_set)}
    assert len({where.run(config) for config in configs}) == len(STUDIES)


def test_full_size_networks_run_on_their_clips():
    """Each of the paper's size, on meta tensors."""
    configs = {shape_from_config(load_config(name)): load_config(name) for name in STUDIES}
    assert len(configs) == 12, "base, tubes, tokens, rotary, five variants, three sizes"
    for config in configs.values():
        assert count_design(config).flops > 1e11


@pytest.mark.parametrize("name", [name for name in STUDIES if name != IMAGENET])
def test_each_study_trains(world, tmp_path, name):
    train(world, name)
    run = tmp_path / "runs" / load_config(name).name
    config = flatten(yaml.safe_load((run / "config.yaml").read_text()))
    small = {"model.size", "train.steps"}  # set by this test
    kept = {key: value for key, value in own_values(name).items() if key not in small}
    assert kept.items() <= config.items()
    assert (run / "checkpoints" / "step-00000001" / "ema.safetensors").is_file()


def test_the_initialisation_study_starts_from_dit(world, tmp_path):
    """From the file named in its preset: DiT's parameter names, the classes of ImageNet."""
    dit = Latte(LatteShape(4, 4, 2, 32, 2, 2, num_classes=1000))
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    weights = {key: value for key, value in dit.state_dict().items() if key != "temp_embed"}
    torch.save(weights, tmp_path / load_config(IMAGENET).train.init)
    stderr = train(world, IMAGENET, "-o", "train.lr=1e-30").stderr
    assert "loaded from dit" in stderr
    run = tmp_path / "runs" / load_config(IMAGENET).name
    trained = load_file(run / "checkpoints" / "step-00000001" / "model.safetensors")
    learned = {name for name, _ in dit.named_parameters()} - {"y_embedder.embedding_table.weight"}
    assert {name for name in trained if not name.endswith("_embed")} == learned
    assert all(torch.equal(trained[name], weights[name]) for name in learned)


def test_the_initialisation_study_names_the_missing_weights(world):
    options = tiny(model__size="null", data__flip="false", vae__path="embedded")
    where = ("-o", f"data.latents={world.latents}")
    assert "DiT-XL-2-256x256.pt: no such file" in fail(
        "train", f"--preset={IMAGENET}", *options, *where
    )


@pytest.mark.usefixtures("terminal")
def test_preset_list_shows_data_sets_first_and_fits_eighty_columns():
    lines = succeed("presets").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    first = [next(n for n, line in enumerate(lines) if line.startswith(name)) for name in STUDIES]
    assert first == sorted(first), "one below the other, as sorted"
    assert first[-1] - first[0] == len(STUDIES) - 1, "a line each"
    assert lines.index("") < first[0]
    last = max(n for n, line in enumerate(lines) if line.startswith("ucf101"))
    assert last < first[0]


def test_a_value_from_a_base_names_the_base():
    shown = json.loads(succeed("--json", "presets", "studies/interval-8").stdout)
    values = {key: {k: each[k] for k in ("value", "from")} for key, each in shown.items()}
    assert values["data.interval"] == {"value": 8, "from": "preset"}
    assert values["data.names"] == {"value": ["faceforensics"], "from": "base studies/base"}
    assert values["train.lr"] == {"value": 1e-4, "from": "default"}


@pytest.mark.usefixtures("terminal")
def test_design_list_fits_eighty_columns():
    result = succeed("presets", "--models", "-o", "model.size=XL", "-o", "data.frames=64")
    header, *rows = result.stdout.splitlines()
    assert header.split()[:5] == ["size", "variant", "depth", "width", "heads"]
    assert [row.split()[:3] for row in rows] == [
        ["XL", "1", "28"],
        ["XL", "2", "28"],
        ["XL", "3", "21"],
        ["XL", "4", "28"],
        ["XL", "5", "28"],
        ["XL", "6", "28"],
    ]
    both, apart = "256+64", "256/64"
    assert [row.split()[-3] for row in rows] == [apart, apart, both, both, apart, apart]
    assert max(map(len, [header, *rows])) <= 80
    assert "64x256x256" in result.stderr


def test_designs_print_as_json_and_overrides_select_among_them():
    chosen = ("-o", "model.variant=2", "-o", "data.frames=2", "-o", "data.size=64")
    listed = json.loads(succeed("--json", "presets", "--models", *chosen).stdout)
    assert [row["size"] for row in listed] == ["S", "B", "L", "XL"]
    assert {row["variant"] for row in listed} == {2}
    small = listed[0]
    assert (small["clip"], small["tokens"]) == ("2x64x64", 32)
    assert small["attention"] == [{"space": 16}] * 6 + [{"time": 2}] * 6
    assert small["multiply_adds"] * 2 == small["flops"]
    assert small["parameters"] == 32_480_672


def test_designs_of_a_preset_have_its_clip_and_the_size_of_the_overrides():
    assert len(list(_design_overrides([]))) == len(list(_design_overrides(["data.size=64"]))) == 24
    own = ("-o", "model.patch=4", "-o", "model.width=64")
    listed = json.loads(succeed("--json", "presets", "shapes", "--models", *own).stdout)
    assert [row["variant"] for row in listed] == [1, 2, 3, 4, 5, 6]
    assert {(row["size"], row["width"], row["depth"]) for row in listed} == {(None, 64, 6)}
    assert {(row["clip"], row["tokens"]) for row in listed} == {("8x64x64", 32)}
    load_config(
        "shapes", next(_design_overrides([]))
    )  # overrides the preset's width, depth and heads


def test_designs_that_cannot_be_counted_are_errors():
    assert "condition text needs 1" in fail("presets", "--models", "-o", "model.condition=text")
    assert "unknown key" in fail("presets", "--models", "-o", "data.sizes=3")


def test_presets_command_imports_no_heavy_library():
    script = (
        "import sys; from typer.testing import CliRunner; from latte_cli.cli import app;"
        "run = lambda *args: CliRunner().invoke(app, args).exit_code;"
        "assert run('presets') == run('presets', 'studies/base') == 0;"
        "print([m for m in ('torch', 'diffusers', 'numpy') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"
