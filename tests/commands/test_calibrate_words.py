"""`latte calibrate`: options that are of a checkpoint or of text alone, told by their names."""

import pytest
from conftest import fail

PROMPT = "two dogs run"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--negative", "blur"),
        ("--eta", 0),
        ("--size", 64),
        ("--text-encoder", "cpu"),
        ("--text-encoder-bits", 8),
    ],
)
def test_options_of_text_are_not_for_a_checkpoint(option, value):
    said = fail("calibrate", "--preset=shapes", option, value)
    assert f"error: {option} is not for a checkpoint" in said
    assert "--model" in said


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((PROMPT,), "leave PROMPT out"),
        (("--prompts", "a.txt"), "leave --prompts out"),
        (("--model", "pipeline"), "leave --model out"),
        (("--model", "pipeline", PROMPT), "leave --model and PROMPT out"),
    ],
)
def test_what_makes_it_one_of_text_is_what_is_to_be_left_out(words, hint):
    said = fail("calibrate", "--preset", "ucf101", *words)
    assert "--preset is not for a text-to-video pipeline" in said
    assert said.endswith(f"hint: {hint}")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--speed", "half"), "--speed half is not a speed"),
        (("--preset", "shapes"), "--preset is not for a text-to-video pipeline"),
        (("--batch", 2), "--batch is not for a text-to-video pipeline"),
        (("--precision", "fp16"), "--precision fp16 is unknown"),
        (("--text-encoder", "gpu"), "--text-encoder gpu is unknown"),
    ],
)
def test_words_that_cannot_be_are_told_before_a_pipeline_is_looked_for(words, told):
    assert told in fail("calibrate", "--model", "./none", *words)
    assert "./none: no such folder" in fail("calibrate", "--model", "./none")
