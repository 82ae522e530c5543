"""The card of a model: what the run says, and nothing of the machine that it was trained on."""

import json

import pytest
import yaml
from helpers.made_runs import make_run
from helpers.small import small_config

from latte_cli.checkpoints.folder import CheckpointMeta, checkpoint_folder, write_meta
from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.results.result import ClipSetFacts, Number, Result
from latte_cli.reporting.model_card.facts import facts_of
from latte_cli.reporting.model_card.text import card_text
from latte_cli.reporting.model_card.writing import edited_card, write_card
from latte_cli.reporting.run_report import add_to_report
from latte_cli.runtime.console import Console
from latte_cli.runtime.files import write_text
from latte_cli.runtime.weight_files.uploading import HubPlace

PLACE = HubPlace("us/boats")
TEXT = {
    "model__condition": "text",
    "model__num_classes": "null",
    "model__text_width": 24,
    "sample__prompts": "[a boat | a lake, rain]",
}


def checkpoint_of(run, step, **values):
    """A checkpoint without weights."""
    folder = checkpoint_folder(run, step)
    write_text(folder / "config.yaml", small_config(**values).to_yaml())
    write_meta(folder, CheckpointMeta(step, "", 1.0, ("up", "down"), "latte 9, torch 8", 120))
    return folder


@pytest.fixture
def run(tmp_path):
    """A run with checkpoints at steps 20 and 40, each evaluated."""
    values = {**TEXT, "data__root": tmp_path / "home" / "boats"}
    run = make_run(tmp_path / "runs" / "boats", **values)
    for step, fvd in ((20, 333.25), (40, 222.5)):
        checkpoint = checkpoint_of(run, step, train__steps=40, **values)
        fake = ClipSetFacts(str(checkpoint), "samples", 64)
        real = ClipSetFacts(str(tmp_path / "home" / "boats"), "prepared data set", 120)
        number = Number("fvd", fvd, 120, 64, note="of few clips")
        protocol = protocol_from(small_config())
        result = Result(protocol, real, fake, {"fvd": number}, ("128 px, not 256",))
        out = tmp_path / f"at-{step}.json"
        out.write_text(json.dumps(result.as_values()))
        add_to_report("result", out, checkpoint, Console(quiet=True))
    return run


def metadata(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_a_card_tells_what_the_run_was_and_found(run, tmp_path):
    facts = facts_of(checkpoint_folder(run, 20), "pipeline", 5000)
    card = card_text(facts, PLACE, "mit")
    assert metadata(card) == {
        "license": "mit",
        "library_name": "diffusers",
        "pipeline_tag": "text-to-video",
        "tags": ["latte", "video-generation"],
    }
    for said in (
        "# boats\n",
        "4 frames of 32 x 32 pixels from a sentence",
        "| preset | `shapes` |",
        "| data set | `boats`, 120 videos |",
        "| steps | 20 of 40, 80 clips seen |",
        "| began from | random weights |",
        "| text encoder | `maxin-cn/Latte-1` |",
        "| parameters | 5000 of the network |",
        "| made by | latte 9, torch 8 |",
        "| fvd | 333.25 |",
        "- protocol: latte ",
        "- real: `boats`, 120 videos",
        "- fake: `step 20 of boats`, 64 videos",
        "- not as published: 128 px, not 256",
        "- note: fvd: of few clips",
        "latte t2v 'a boat | a lake' --model us/boats",
        'LattePipeline.from_pretrained("us/boats")',
        "height=32, width=32, video_length=4",
        'src="https://huggingface.co/us/boats/resolve/main/preview.mp4"',
        "`a boat | a lake`, `rain`",
    ):
        assert said in card, f"{said}\n{card}"
    assert "222.5" not in card, "a number of another checkpoint"
    assert facts.preview == run / "previews" / "step-00000020.mp4"
    assert str(tmp_path) not in card
    assert "home" not in card


def test_numbers_and_clips_of_the_run_are_not_those_of_changed_weights(run):
    facts = facts_of(checkpoint_folder(run, 40), "pipeline", 5000, ["the adapter x added"])
    card = card_text(facts, PLACE, None)
    assert "222.5" not in card
    assert "<video" not in card
    assert "| after training | the adapter x added |" in card
    assert "license" not in metadata(card)


def test_adapters_name_the_network_that_they_go_with(tmp_path):
    cached = tmp_path / "models--maxin-cn--Latte-1" / "snapshots" / "abc" / "transformer"
    lora = {"train__init": cached, "train__lora.rank": 2}
    folder = checkpoint_of(tmp_path / "tuned", 3, **TEXT, **lora)
    card = card_text(facts_of(folder, "lora", 64), PLACE, None)
    assert metadata(card)["base_model"] == "maxin-cn/Latte-1"
    assert metadata(card)["library_name"] == "peft"
    assert "--model maxin-cn/Latte-1 --lora boats" in card
    assert "rank 2, alpha 2, on `*attn*`" in card
    lora["train__init"] = tmp_path / "runs" / "base" / "checkpoints" / "step-00000007"
    folder = checkpoint_of(tmp_path / "tuned", 4, **TEXT, **lora)
    card = card_text(facts_of(folder, "lora", 64), PLACE, None)
    assert "base_model" not in metadata(card)
    assert "--model BASE --lora boats" in card
    assert "| began from | `step 7 of base` |" in card


def test_weights_of_elsewhere_have_a_card_of_what_is_known(tmp_path):
    card = card_text(facts_of(tmp_path / "Latte-1" / "transformer", "diffusers", 9), PLACE, None)
    assert "converted by `latte` from Latte-1" in card
    assert "LatteTransformer3DModel.from_pretrained" in card
    assert "| weights | converted from `Latte-1` |" in card


def test_a_card_is_made_anew_until_somebody_edits_it(tmp_path, run):
    (tmp_path / "out").mkdir()
    preview = run / "previews" / "step-00000020.mp4"
    write_card(tmp_path / "out", "# one\n", None, preview)
    assert (tmp_path / "out" / "preview.mp4").read_bytes() == preview.read_bytes()
    assert edited_card(tmp_path / "out") is None
    path = tmp_path / "out" / "README.md"
    path.write_text(path.read_text().replace("one", "mine"))
    edited = edited_card(tmp_path / "out")
    assert edited is not None
    assert write_card(tmp_path / "out", "# two\n", edited, None) == edited
    assert path.read_text().startswith("# mine\n")
