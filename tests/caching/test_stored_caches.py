"""Files of calibrated caches: what is read back, what is refused, and what is warned of."""

import json
import warnings
from dataclasses import replace

import pytest

from latte_cli.caching import (
    CacheKey,
    CacheUse,
    CalibratedCache,
    Conditions,
    Schedule,
    cache_use,
    find_cache,
    place_for,
    read_cache,
    trained_size,
    write_cache,
)
from latte_cli.config import load_config
from latte_cli.config.locations import asset
from latte_cli.runtime.errors import CheckpointError, LatteWarning

KEY = CacheKey("ab" * 32, "ddim", "eps", (0, 200, 400, 600, 800, 999))
DRAWN = Conditions(guidance=4.0, frames=8, size=(64, 64))
USE = CacheUse(KEY, (DRAWN,))


def stored(**values):
    schedule = Schedule((frozenset({0, 2, 5}), frozenset({0, 1})))
    kept = {"speed": 2.0, "psnr_db": 31.5, "blocks": 10, "blocks_in_all": 24, "clips": 8}
    return CalibratedCache(
        **{"key": KEY, "conditions": DRAWN, "schedule": schedule, **kept, **values}
    )


@pytest.fixture(autouse=True)
def _no_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


def test_a_cache_is_read_as_it_was_written(tmp_path):
    path = write_cache(tmp_path, stored())
    assert path.name == "cache-ddim-6-g4-2x-abababab.json"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_cache(path, USE) == find_cache(tmp_path, USE, 2.0) == stored()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_all_conditions_are_read_as_they_were_written(tmp_path):
    conditions = Conditions(7.5, 16, None, 0.5, (0.25, 0.75), 3)
    path = write_cache(tmp_path, stored(conditions=conditions))
    assert path.name == "cache-ddim-6-g7.5-2x-abababab.json"
    assert read_cache(path, CacheUse(KEY, (conditions,))).conditions == conditions


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (replace(KEY, weights_sha256="cd" * 32), "was calibrated for other weights"),
        (replace(KEY, sampler="euler"), "the sampler ddim, not euler"),
        (replace(KEY, timesteps=tuple(range(50))), "steps 6, not 50"),
        (replace(KEY, timesteps=tuple(range(6))), "other timesteps"),
        (replace(KEY, objective="v"), "the objective eps, not v"),
    ],
)
def test_a_cache_for_something_else_is_refused(tmp_path, key, told):
    path = write_cache(tmp_path, stored())
    with pytest.raises(CheckpointError, match=told):
        read_cache(path, CacheUse(key, (DRAWN,)))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"guidance": 7.5}, "guidance 4, not 7.5: "),
        ({"frames": 16, "size": None}, "frames 8, not 16; size 64x64, not as trained: "),
        ({"eta": 0.5}, "eta 0, not 0.5: "),
        ({"guidance_interval": (0.2, 0.8)}, "guidance interval 0 to 1, not 0.2 to 0.8: "),
        ({"guided_channels": 3}, "guided channels all, not 3: "),
    ],
)
def test_a_cache_calibrated_on_clips_drawn_otherwise_is_used_with_a_warning(tmp_path, asked, told):
    path = write_cache(tmp_path, stored())
    with pytest.warns(LatteWarning, match=f"was calibrated for {told}.*latte calibrate"):
        assert read_cache(path, CacheUse(KEY, (replace(DRAWN, **asked),))) == stored()


def test_of_clips_drawn_in_several_ways_those_are_told_that_differ(tmp_path):
    path = write_cache(tmp_path, stored())
    asked = tuple(replace(DRAWN, guidance=scale) for scale in (7.5, 4.0, 2.0))
    with pytest.warns(LatteWarning, match="guidance 4, not 7.5 or 2:"):
        read_cache(path, CacheUse(KEY, asked))


@pytest.mark.parametrize(("asked", "taken"), [(1, 1), (2, 1), (3, 4), (4, 4), (9, 7.5)])
def test_of_several_guidance_scales_the_nearest_is_taken(tmp_path, asked, taken):
    (tmp_path / "cache-ddim-6-gmany-2x.json").write_text("{}")  # no file of ours
    for scale in (1.0, 4.0, 7.5):
        write_cache(tmp_path, stored(conditions=replace(DRAWN, guidance=scale)))
    use = CacheUse(KEY, (replace(DRAWN, guidance=asked),))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert find_cache(tmp_path, use, 2.0).conditions.guidance == taken
    assert len(told) == (asked != taken)


def test_schedules_of_two_networks_in_one_folder_do_not_shadow_each_other(tmp_path):
    """Files of weights lie beside each other, and so do their schedules."""
    other = replace(KEY, weights_sha256="cd" * 32)
    far = replace(DRAWN, guidance=7.5)
    paths = {write_cache(tmp_path, stored(key=key, speed=2.0)) for key in (KEY, other)}
    assert len(paths) == 2
    assert find_cache(tmp_path, USE, 2.0).key == KEY
    assert find_cache(tmp_path, CacheUse(other, (DRAWN,)), 2.0).key == other
    write_cache(tmp_path, stored(key=other, conditions=far))
    with pytest.warns(LatteWarning, match="guidance 4, not 7.5"):
        assert find_cache(tmp_path, CacheUse(KEY, (far,)), 2.0).key == KEY
    third = CacheUse(replace(KEY, weights_sha256="ef" * 32), (far,))
    with pytest.raises(CheckpointError, match=r"g7\.5-2x-cdcdcdcd\.json was calibrated for"):
        find_cache(tmp_path, third, 2.0)


def test_a_schedule_is_found_under_a_name_without_its_weights(tmp_path):
    write_cache(tmp_path, stored()).rename(tmp_path / "cache-ddim-6-g4-2x.json")
    write_cache(tmp_path, stored(key=replace(KEY, weights_sha256="cd" * 32)))
    assert find_cache(tmp_path, USE, 2.0) == stored()


def test_the_trained_size_is_the_same_told_or_not(tmp_path):
    for there in (None, (64, 64)):
        path = write_cache(tmp_path, stored(conditions=replace(DRAWN, size=there)))
        for asked in (None, (64, 64)):
            use = CacheUse(KEY, (replace(DRAWN, size=asked),), trained=(64, 64))
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert read_cache(path, use).conditions.size == there
        words = "as trained" if there is None else "64x64"
        use = CacheUse(KEY, (DRAWN, replace(DRAWN, size=(32, 32))), trained=(64, 64))
        with pytest.warns(LatteWarning, match=f"size {words}, not 32x32:"):
            read_cache(path, use)
    other = write_cache(tmp_path, stored(conditions=replace(DRAWN, size=(32, 32))))
    for asked in (None, (64, 64)):
        use = CacheUse(KEY, (replace(DRAWN, size=asked),), trained=(64, 64))
        with pytest.warns(LatteWarning, match="size 32x32, not "):
            read_cache(other, use)


def test_the_trained_size_is_told_by_a_pipeline_s_files(tmp_path):
    """Latents of 64 by 64, each 8 by 8 pixels, as autoencoders of four levels make them."""
    told = {"network": {"sample_size": 64}, "vae": {"block_out_channels": [128, 256, 512, 512]}}
    for name, values in told.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(values))
    assert trained_size(tmp_path / "network", tmp_path / "vae") == (512, 512)
    (tmp_path / "network/config.json").write_text("{}")
    assert trained_size(tmp_path / "network", tmp_path / "vae") is None
    assert trained_size(tmp_path / "none", tmp_path / "vae") is None


def test_where_the_weights_folder_may_not_be_written_to_the_user_s_cache_folder_is_used(
    tmp_path, monkeypatch
):
    weights = tmp_path / "weights"
    weights.mkdir()
    assert place_for(weights, KEY) == weights
    monkeypatch.setattr("os.access", lambda path, mode: False)
    apart = place_for(weights, KEY)
    assert apart == place_for(None, KEY)
    assert tmp_path / "user" in apart.parents
    assert apart != place_for(None, replace(KEY, weights_sha256="cd" * 32))
    write_cache(apart, stored())
    assert find_cache(weights, USE, 2.0) == stored()


@pytest.mark.parametrize(
    "damage",
    [
        lambda v: [],
        lambda v: {**v, "format": 1},
        lambda v: {**v, "size": 64},
        lambda v: {**v, "guidance_interval": [0]},
        lambda v: {k: v[k] for k in v if k != "computed"},
        lambda v: {**v, "computed": [[1, 2], [0]]},
        lambda v: {**v, "computed": [[0, 6], [0]]},
        lambda v: {**v, "computed": [[0, 1.5], [0]]},
        lambda v: {**v, "computed": [0, 1]},
        lambda v: {**v, "computed": None},
        lambda v: {**v, "timesteps": "many"},
    ],
)
def test_a_broken_cache_is_told(tmp_path, damage):
    path = write_cache(tmp_path, stored())
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(CheckpointError, match="is no calibrated cache, or broken"):
        read_cache(path, USE)


def test_a_file_that_is_not_there_or_no_json_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="no such cache"):
        read_cache(tmp_path / "none.json", USE)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(CheckpointError, match="is no calibrated cache, or broken"):
        read_cache(tmp_path / "bytes.json", USE)
    write_cache(tmp_path, stored())
    with pytest.raises(CheckpointError, match="for 3x at 6 steps of ddim; it has cache-ddim-6-g4"):
        find_cache(tmp_path, USE, 3.0)


@pytest.mark.parametrize(("speed", "least_db"), [(2.0, 30), (3.0, 25)])
def test_shipped_caches_are_for_the_shipped_weights_and_good(speed, least_db):
    use = cache_use(asset("shapes"), load_config("shapes"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache = find_cache(asset("shapes"), use, speed)
    assert cache.blocks_in_all >= speed * cache.blocks
    assert cache.psnr_db >= least_db
    assert len(cache.schedule.computed) == 3
