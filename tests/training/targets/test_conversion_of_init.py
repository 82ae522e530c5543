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


def test_a_network_alone_is_taken_for_a_published_one(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert converted(tmp_path).diffusion.output == "eps"
