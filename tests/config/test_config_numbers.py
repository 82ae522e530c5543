"""Numbers that a configuration can hold."""

import pytest

from latte_cli.config import Config, flatten, load_config
from latte_cli.runtime.errors import ConfigError


@pytest.mark.parametrize("value", [".inf", ".nan", "inf", "-.inf", "1e999"])
@pytest.mark.parametrize(
    "key",
    [key for key, value in flatten(Config().model_dump()).items() if isinstance(value, float)],
)
def test_numbers_are_finite(key, value):
    """JSON has no others (RFC 8259, section 6), and settings are written as JSON."""
    with pytest.raises(ConfigError, match=rf"`{key}` is .*finite"):
        load_config(None, [f"{key}={value}"])


@pytest.mark.parametrize(
    "words", ["train.min_snr_gamma=.inf", "sample.guidance_interval=[.nan, 1]"]
)
def test_so_are_those_that_may_be_left_out_or_are_pairs(words):
    with pytest.raises(ConfigError, match="finite"):
        load_config(None, [words])


@pytest.mark.parametrize(
    ("fps", "told"),
    [("1e-9", "greater than or equal to 0.1"), ("1e9", "less than or equal to 1000")],
)
def test_frames_a_second_are_what_files_can_hold(fps, told):
    with pytest.raises(ConfigError, match=rf"`sample\.fps` is .* {told}") as caught:
        load_config(None, [f"sample.fps={fps}"])
    assert "frames per second" in caught.value.hint


@pytest.mark.parametrize("fps", [0.1, 23.976, 1000])
def test_sensible_frames_a_second_are_taken(fps):
    assert load_config(None, [f"sample.fps={fps}"]).sample.fps == fps
