"""What a flow begins with: a network that predicts noise, v or a velocity."""

import json
from pathlib import Path

import pytest

from latte_cli.config import Config, load_config
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import CheckpointError
from latte_cli.training.targets.conversion import with_output_of_init


def converted(init: Path) -> Config:
    """The configuration of a flow that begins with these weights."""
    config = load_config("shapes-fast", [f"train.init={init}"])
    return with_output_of_init(config, init / "no-run", "auto", Console(quiet=True))


def write_scheduler(pipeline: Path, config: dict[str, str]) -> None:
    (pipeline / "scheduler").mkdir()
    (pipeline / "transformer").mkdir()
    (pipeline / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(("predicts", "output"), [
    ("flow_prediction", None), ("epsilon", "eps"), ("v_prediction", "v"), (None, "eps"),
])  # fmt: skip
@pytest.mark.parametrize("part", [".", "transformer"])
def test_what_a_pipeline_predicts_is_said_by_its_scheduler(tmp_path, predicts, output, part):
    write_scheduler(tmp_path, {} if predicts is None else {"prediction_type": predicts})
    assert converted(tmp_path / part).diffusion.output == output


def test_a_pipeline_whose_output_cannot_be_converted_is_refused(tmp_path):
    write_scheduler(tmp_path, {"prediction_type": "sample"})
    with pytest.raises(CheckpointError, match="its network predicts sample"):
        converted(tmp_path)


@pytest.mark.parametrize(("scheduler", "said"), [
    ({"beta_schedule": "scaled_linear"}, "its noise schedule is scaled_linear"),
    ({"beta_end": 0.012}, r"diffusion\.beta_end 0\.012, where this run has 0\.02"),
    ({"num_train_timesteps": 500}, r"diffusion\.num_timesteps 500, where this run has 1000"),
])  # fmt: skip
def test_other_noise_levels_are_not_converted(tmp_path, scheduler, said):
    write_scheduler(tmp_path, scheduler)
    with pytest.raises(CheckpointError, match=said) as refused:
        converted(tmp_path)
    assert refused.value.hint


def test_a_flow_with_other_timesteps_is_refused():
    config = load_config(
        "shapes-fast", ["train.init=embedded/shapes-fast", "diffusion.num_timesteps=500"]
    )
    with pytest.raises(CheckpointError, match=r"num_timesteps 1000, where this run has 500"):
        with_output_of_init(config, Path("no-run"), "auto", Console(quiet=True))


def test_a_flow_that_is_to_predict_noise_is_told(capsys):
    config = load_config("shapes", ["train.init=embedded/shapes-fast"])
    assert with_output_of_init(config, Path("no-run"), "auto", Console()) is config
    assert "predicts a velocity" in " ".join(capsys.readouterr().err.split())


def test_a_network_alone_is_taken_for_a_published_one(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert converted(tmp_path).diffusion.output == "eps"
