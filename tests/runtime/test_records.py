"""Records read from JSON have the types that their dataclass declares."""

import json
from dataclasses import asdict

import pytest

from latte_cli.checkpoints.folder import CheckpointMeta
from latte_cli.data.latents.reading import LatentMeta, LatentVideo
from latte_cli.data.manifest import VideoRecord, video_from
from latte_cli.runtime.records import record_from

VIDEO = VideoRecord("a.mp4", 3, 8.0, 64, 32, 1, "a cat", "train", 10, "ff")
RECORDS = [
    VIDEO,
    LatentVideo("a.mp4", "ff", 3, None, "train", "shard", 0),
    LatentMeta("embedded", "ab", 0.18, 4, 32, "crop-resize", False, ("a", "b"), 2),
    CheckpointMeta(3, "ab", 0.18, ("a",), files={"ema.safetensors": "00"}),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_survive_json_and_other_types_do_not(record):
    values = json.loads(json.dumps(asdict(record)))
    assert record_from(type(record), values) == record
    for key in values:
        for odd in ([[1]], {"a": [1]}, [None]):
            with pytest.raises((ValueError, TypeError)):
                record_from(type(record), {**values, key: odd})
    for text in (key for key, value in values.items() if isinstance(value, str)):
        with pytest.raises(ValueError, match=text):
            record_from(type(record), {**values, text: 1})
    with pytest.raises(TypeError, match="unknown key 'later'"):
        record_from(type(record), {**values, "later": 1})


@pytest.mark.parametrize("values", [None, [], 3, "text"])
def test_what_is_no_object_is_no_record(values):
    with pytest.raises(TypeError):
        record_from(LatentVideo, values)
    with pytest.raises(TypeError):
        video_from(values)


def test_keys_of_later_versions_of_the_manifest_are_ignored():
    assert video_from({**asdict(VIDEO), "later": 1}) == VIDEO
