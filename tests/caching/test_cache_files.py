"""Files of calibrated caches: round trips, errors and warnings."""

import json
import warnings
from dataclasses import replace

import pytest

from latte_cli.caching import (
    CacheKey,
    CalibratedCache,
    Conditions,
    SamplingSetup,
    Schedule,
    cache_location,
    checkpoint_setup,
    find_cache,
    read_cache,
    trained_size,
    write_cache,
)
from latte_cli.config import load_config
from latte_cli.config.locations import asset
from latte_cli.runtime.errors import CheckpointError, LatteWarning

KEY = CacheKey("ab" * 32, "ddim", "eps", (0, 200, 400, 600, 800, 999))
CONDITIONS = Conditions(guidance=4.0, frames=8, size=(64, 64))
SETUP = SamplingSetup(KEY, (CONDITIONS,))


def calibrated(**values):
    schedule = Schedule((frozenset({0, 2, 5}), frozenset({0, 1})))
    kept = {"speed": 2.0, "psnr_db": 31.5, "blocks": 10, "blocks_in_all": 24, "clips": 8}
    return CalibratedCache(
        **{"key": KEY, "conditions": CONDITIONS, "schedule": schedule, **kept, **values}
    )


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


def test_a_cache_round_trips(tmp_path):
    path = write_cache(tmp_path, calibrated())
    assert path.name == "cache-ddim-6-g4-2x-abababab.json"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_cache(path, SETUP) == find_cache(tmp_path, SETUP, 2.0) == calibrated()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_all_conditions_round_trip(tmp_path):
    conditions = Conditions(7.5, 16, None, 0.5, (0.25, 0.75), 3)
    path = write_cache(tmp_path, calibrated(conditions=conditions))
    assert path.name == "cache-ddim-6-g7.5-2x-abababab.json"
    assert read_cache(path, SamplingSetup(KEY, (conditions,))).conditions == conditions


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (replace(KEY, weights_sha256="cd" * 32), "was calibrated for other weights"),
        (replace(KEY, sampler="euler"), "the sampler ddim, not euler"),
        (replace(KEY, timesteps=tuple(range(50))), "steps 6, not 50"),
        (replace(KEY, timesteps=tuple(range(6))), "other timesteps"),
        (replace(KEY, objective="v"), "the objective eps, not v"),
    ],
)
def test_a_cache_for_another_key_raises(tmp_path, key, message):
    path = write_cache(tmp_path, calibrated())
    with pytest.raises(CheckpointError, match=message):
        read_cache(path, SamplingSetup(key, (CONDITIONS,)))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"guidance": 7.5}, "guidance 4, not 7.5: "),
        ({"frames": 16, "size": None}, "frames 8, not 16; size 64x64, not as trained: "),
        ({"eta": 0.5}, "eta 0, not 0.5: "),
        ({"guidance_interval": (0.2, 0.8)}, "guidance interval 0 to 1, not 0.2 to 0.8: "),
        ({"guided_channels": 3}, "guided channels all, not 3: "),
    ],
)
def test_a_cache_calibrated_under_other_conditions_is_used_with_a_warning(tmp_path, other, message):
    path = write_cache(tmp_path, calibrated())
    with pytest.warns(LatteWarning, match=f"was calibrated for {message}.*latte calibrate"):
        assert read_cache(path, SamplingSetup(KEY, (replace(CONDITIONS, **other),))) == calibrated()


def test_the_warning_names_each_guidance_scale_that_differs(tmp_path):
    path = write_cache(tmp_path, calibrated())
    other = tuple(replace(CONDITIONS, guidance=scale) for scale in (7.5, 4.0, 2.0))
    with pytest.warns(LatteWarning, match="guidance 4, not 7.5 or 2:"):
        read_cache(path, SamplingSetup(KEY, other))


@pytest.mark.parametrize(("other", "taken"), [(1, 1), (2, 1), (3, 4), (4, 4), (9, 7.5)])
def test_the_nearest_guidance_scale_is_taken(tmp_path, other, taken):
    (tmp_path / "cache-ddim-6-gmany-2x.json").write_text("{}")  # not written by latte
    for scale in (1.0, 4.0, 7.5):
        write_cache(tmp_path, calibrated(conditions=replace(CONDITIONS, guidance=scale)))
    setup = SamplingSetup(KEY, (replace(CONDITIONS, guidance=other),))
    with warnings.catch_warnings(record=True) as message:
        warnings.simplefilter("always")
        assert find_cache(tmp_path, setup, 2.0).conditions.guidance == taken
    assert len(message) == (other != taken)


def test_caches_of_two_networks_share_a_folder(tmp_path):
    """As files of weights may, too."""
    other = replace(KEY, weights_sha256="cd" * 32)
    far = replace(CONDITIONS, guidance=7.5)
    paths = {write_cache(tmp_path, calibrated(key=key, speed=2.0)) for key in (KEY, other)}
    assert len(paths) == 2
    assert find_cache(tmp_path, SETUP, 2.0).key == KEY
    assert find_cache(tmp_path, SamplingSetup(other, (CONDITIONS,)), 2.0).key == other
    write_cache(tmp_path, calibrated(key=other, conditions=far))
    with pytest.warns(LatteWarning, match="guidance 4, not 7.5"):
        assert find_cache(tmp_path, SamplingSetup(KEY, (far,)), 2.0).key == KEY
    third = SamplingSetup(replace(KEY, weights_sha256="ef" * 32), (far,))
    with pytest.raises(CheckpointError, match=r"g7\.5-2x-cdcdcdcd\.json was calibrated for"):
        find_cache(tmp_path, third, 2.0)


def test_a_cache_is_found_under_an_old_name_without_the_checksum(tmp_path):
    write_cache(tmp_path, calibrated()).rename(tmp_path / "cache-ddim-6-g4-2x.json")
    write_cache(tmp_path, calibrated(key=replace(KEY, weights_sha256="cd" * 32)))
    assert find_cache(tmp_path, SETUP, 2.0) == calibrated()


def test_the_trained_size_equals_a_size_of_none(tmp_path):
    for stored_size in (None, (64, 64)):
        path = write_cache(tmp_path, calibrated(conditions=replace(CONDITIONS, size=stored_size)))
        for other in (None, (64, 64)):
            setup = SamplingSetup(KEY, (replace(CONDITIONS, size=other),), trained=(64, 64))
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert read_cache(path, setup).conditions.size == stored_size
        words = "as trained" if stored_size is None else "64x64"
        setup = SamplingSetup(
            KEY, (CONDITIONS, replace(CONDITIONS, size=(32, 32))), trained=(64, 64)
        )
        with pytest.warns(LatteWarning, match=f"size {words}, not 32x32:"):
            read_cache(path, setup)
    path = write_cache(tmp_path, calibrated(conditions=replace(CONDITIONS, size=(32, 32))))
    for other in (None, (64, 64)):
        setup = SamplingSetup(KEY, (replace(CONDITIONS, size=other),), trained=(64, 64))
        with pytest.warns(LatteWarning, match="size 32x32, not "):
            read_cache(path, setup)


def test_the_trained_size_is_read_from_a_pipeline(tmp_path):
    """Latents of 64 by 64, each 8 by 8 pixels, as autoencoders of four levels make them."""
    message = {"network": {"sample_size": 64}, "vae": {"block_out_channels": [128, 256, 512, 512]}}
    for name, values in message.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(values))
    assert trained_size(tmp_path / "network", tmp_path / "vae") == (512, 512)
    (tmp_path / "network/config.json").write_text("{}")
    assert trained_size(tmp_path / "network", tmp_path / "vae") is None
    assert trained_size(tmp_path / "none", tmp_path / "vae") is None


def test_the_user_s_cache_folder_is_used_if_the_weights_folder_is_not_writable(
    tmp_path, monkeypatch
):
    weights = tmp_path / "weights"
    weights.mkdir()
    assert cache_location(weights, KEY) == weights
    monkeypatch.setattr("os.access", lambda path, mode: False)
    user_folder = cache_location(weights, KEY)
    assert user_folder == cache_location(None, KEY)
    assert tmp_path / "user" in user_folder.parents
    assert user_folder != cache_location(None, replace(KEY, weights_sha256="cd" * 32))
    write_cache(user_folder, calibrated())
    assert find_cache(weights, SETUP, 2.0) == calibrated()


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
def test_a_broken_cache_raises(tmp_path, damage):
    path = write_cache(tmp_path, calibrated())
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(CheckpointError, match="is not a calibrated cache, or is broken"):
        read_cache(path, SETUP)


def test_a_missing_file_and_one_that_is_not_json_raise(tmp_path):
    with pytest.raises(CheckpointError, match="no such cache"):
        read_cache(tmp_path / "none.json", SETUP)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(CheckpointError, match="is not a calibrated cache, or is broken"):
        read_cache(tmp_path / "bytes.json", SETUP)
    write_cache(tmp_path, calibrated())
    with pytest.raises(CheckpointError, match="for 3x at 6 steps of ddim; it has cache-ddim-6-g4"):
        find_cache(tmp_path, SETUP, 3.0)


@pytest.mark.parametrize(("speed", "least_db"), [(2.0, 30), (3.0, 25)])
def test_shipped_caches_fit_the_shipped_weights_and_reach_their_psnr(speed, least_db):
    config = load_config("shapes-fast")
    setup = checkpoint_setup(asset("shapes-fast"), config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache = find_cache(asset("shapes-fast"), setup, speed)
    assert cache.blocks_in_all >= speed * cache.blocks
    assert cache.psnr_db >= least_db
    assert len(cache.schedule.computed) == 4
