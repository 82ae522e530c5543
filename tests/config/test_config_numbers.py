"""Limits of numbers in the configuration."""

import pytest

from latte_cli.config import Config, flatten, load_config
from latte_cli.runtime.errors import ConfigError


@pytest.mark.parametrize("value", [".inf", ".nan", "inf", "-.inf", "1e999"])
@pytest.mark.parametrize(
    "key",
    [key for key, value in flatten(Config().model_dump()).items() if isinstance(value, float)],
)
def test_infinite_numbers_and_nan_are_errors(key, value):
    """JSON has no others (RFC 8259, section 6), and settings are written as JSON."""
    with pytest.raises(ConfigError, match=rf"`{key}` is .*finite"):
        load_config(None, [f"{key}={value}"])


@pytest.mark.parametrize(
    "override", ["train.min_snr_gamma=.inf", "sample.guidance_interval=[.nan, 1]"]
)
def test_infinite_optional_values_and_pairs_are_errors(override):
    with pytest.raises(ConfigError, match="finite"):
        load_config(None, [override])


@pytest.mark.parametrize(
    ("fps", "message"),
    [("1e-9", "greater than or equal to 0.1"), ("1e9", "less than or equal to 1000")],
)
def test_fps_out_of_range_is_an_error(fps, message):
    with pytest.raises(ConfigError, match=rf"`sample\.fps` is .* {message}") as caught:
        load_config(None, [f"sample.fps={fps}"])
    assert "frames per second" in caught.value.hint


@pytest.mark.parametrize("fps", [0.1, 23.976, 1000])
def test_fps_within_range_is_accepted(fps):
    assert load_config(None, [f"sample.fps={fps}"]).sample.fps == fps
