"""`latte calibrate`: options that are for a checkpoint or for text only."""

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
def test_options_of_text_fail_for_a_checkpoint(option, value):
    output = fail("calibrate", "--preset=shapes", option, value)
    assert f"error: {option} is not for a checkpoint" in output
    assert "--model" in output


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((PROMPT,), "leave PROMPT out"),
        (("--prompts", "a.txt"), "leave --prompts out"),
        (("--model", "pipeline"), "leave --model out"),
        (("--model", "pipeline", PROMPT), "leave --model and PROMPT out"),
    ],
)
def test_the_hint_names_the_options_of_text_to_leave_out(words, hint):
    output = fail("calibrate", "--preset", "ucf101", *words)
    assert "--preset is not for a text-to-video pipeline" in output
    assert output.endswith(f"hint: {hint}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--speed", "half"), "--speed half is not a speed"),
        (("--preset", "shapes"), "--preset is not for a text-to-video pipeline"),
        (("--batch", 2), "--batch is not for a text-to-video pipeline"),
        (("--precision", "fp16"), "--precision fp16 is unknown"),
        (("--text-encoder", "gpu"), "--text-encoder gpu is unknown"),
    ],
)
def test_invalid_values_fail_before_the_pipeline_is_opened(words, message):
    assert message in fail("calibrate", "--model", "./none", *words)
    assert "./none: no such folder" in fail("calibrate", "--model", "./none")
