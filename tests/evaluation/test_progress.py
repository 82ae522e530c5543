"""How far a pass over clips is, as it is told."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from helpers.eval_data import QUIET, mp4_folder, small

from latte_cli.evaluation.features.extracting import ClipExtraction, FeatureExtraction
from latte_cli.evaluation.features.extractors import open_feature_extractor
from latte_cli.evaluation.features.store import FeatureStore
from latte_cli.evaluation.plan import ClipRef
from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.evaluation.sources.videos import unchanged
from latte_cli.runtime.console import Console


@pytest.fixture
def told(monkeypatch):
    """What a progress bar is told: its total and where it starts, then each advance."""
    told = []

    @contextmanager
    def progress(console, what, total, unit):
        yield SimpleNamespace(
            start=lambda done: told.append((total, done)),
            advance=lambda count=1: told.append(count),
        )

    monkeypatch.setattr(Console, "progress", progress)
    return told


def test_clips_of_several_draws_are_counted_once(tmp_path, told):
    config = small()
    protocol = protocol_from(config)
    source = open_source(
        mp4_folder(tmp_path / "f", 5, 4), protocol, config, tmp_path / "seen", QUIET
    )
    extractor = open_feature_extractor("random3d", 4, None, trust_torchscript=False)
    stores = {"random3d": FeatureStore(tmp_path / "features", "random3d", {})}
    work = ClipExtraction(source, unchanged, {"random3d": extractor}, 2)
    extraction = FeatureExtraction(work, stores, tmp_path / "claims", "fake")
    clips = [ClipRef(video, range(4)) for video in source.videos]
    told.clear()
    extraction.run({"random3d": clips[:3] * 2}, QUIET)
    assert told[0] == (3, 0)
    assert sum(told[1:]) == 3
    told.clear()
    extraction.run({"random3d": clips * 3}, QUIET)
    assert told[0] == (5, 3), "three are done already"
    assert sum(told[1:]) == 2
