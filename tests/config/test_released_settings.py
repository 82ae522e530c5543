"""Presets against the settings that were released with the paper, with and without images.

Source: `configs/` of the code released with Latte (arXiv 2401.03048), eight GPUs (the paper,
section 4.1): https://github.com/Vchitect/Latte/tree/main/configs, one file for each row below.
"""

import pytest
from conftest import succeed

from latte_cli.config import config_sources, load_config, preset_names
from latte_cli.config.preset_files import preset_folder
from latte_cli.runtime.errors import ConfigError

GPUS = 8
IMAGES = 8  # `use_image_num`

# preset, joint images: the released file, `local_batch_size`, `start_clip_iter`
RELEASED = {
    ("faceforensics", 0): ("ffs/ffs_train.yaml", 5, 20_000),
    ("faceforensics", IMAGES): ("ffs/ffs_img_train.yaml", 4, 500_000),
    ("skytimelapse", 0): ("sky/sky_train.yaml", 5, 20_000),
    ("skytimelapse", IMAGES): ("sky/sky_img_train.yaml", 4, 20_000),
    ("taichi-hd", 0): ("taichi/taichi_train.yaml", 5, 500_000),
    ("taichi-hd", IMAGES): ("taichi/taichi_img_train.yaml", 4, 500_000),
    ("ucf101", 0): ("ucf101/ucf101_train.yaml", 5, 100_000),
    ("ucf101", IMAGES): ("ucf101/ucf101_img_train.yaml", 4, 100_000),
}

# The same in all eight files: `model`, `num_frames`, `image_size`, `frame_interval`,
# `learning_rate`, `lr_warmup_steps`, `clip_max_norm`, `ckpt_every`, `num_sampling_steps`,
# `gradient_accumulation_steps`. AdamW without decay, EMA 0.9999: the paper and `train.py`.
SHARED = {
    "model.size": "XL",
    "model.patch": 2,
    "model.variant": 1,
    "data.frames": 16,
    "data.size": 256,
    "data.interval": 3,
    "data.flip": True,
    "train.lr": 1e-4,
    "train.lr_schedule": "constant",
    "train.warmup_steps": 0,
    "train.weight_decay": 0.0,
    "train.clip_grad_norm": 0.1,
    "train.ema_decay": 0.9999,
    "train.accumulate": 1,
    "train.condition_dropout": 0.1,
    "train.save_every": 10_000,
    "train.steps": 1_000_000,
    "sample.steps": 250,
}
STUDIES = [name for name in preset_names() if name.startswith("studies/")]
STUDIED = {"model.size", "model.variant", "data.interval"}


def values(name: str, *overrides: str) -> dict[str, object]:
    return {source.key: source.value for source in config_sources(name, overrides)}


@pytest.mark.parametrize(("name", "images"), RELEASED)
def test_presets_of_data_sets_have_the_released_settings(name, images):
    _, clips, clip_from_step = RELEASED[name, images]
    ours = values(name, *([] if images else ["data.num_images=0"]))
    assert ours["data.num_images"] == images
    assert ours["train.batch_size"] == GPUS * clips
    assert ours["train.clip_from_step"] == clip_from_step
    assert {key: ours[key] for key in SHARED} == SHARED
    assert ours["model.num_classes"] == (101 if name == "ucf101" else None)


@pytest.mark.parametrize("images", [0, IMAGES])
@pytest.mark.parametrize("name", STUDIES)
def test_studies_have_the_released_settings_of_faceforensics(name, images):
    """Without images by default; the paper's curves end at 150 000 steps (section 4.2)."""
    if images and name == "studies/patch-compression":
        pytest.skip("an image cannot be part of a tube of frames")
    _, clips, clip_from_step = RELEASED["faceforensics", images]
    ours = values(name, *([f"data.num_images={images}"] if images else []))
    assert ours["data.num_images"] == images
    assert ours["train.batch_size"] == GPUS * clips
    assert ours["train.clip_from_step"] == clip_from_step
    expected = SHARED | {"train.steps": 150_000}
    assert {key: ours[key] for key in expected if key not in STUDIED} == {
        key: value for key, value in expected.items() if key not in STUDIED
    }


def test_each_released_value_is_listed_with_its_source_in_the_preset():
    for name in ("faceforensics", "skytimelapse", "taichi-hd", "ucf101"):
        text = (preset_folder() / f"{name}.yaml").read_text()
        for images in (0, IMAGES):
            folder, _, file = RELEASED[name, images][0].partition("/")
            assert f"configs/{folder}/" in text
            assert file in text, "the source of the value"
        origins = {source.key: source.origin for source in config_sources(name)}
        assert origins["train.batch_size"] == origins["train.clip_from_step"] == "preset"


def test_the_schema_alone_has_the_released_batch_with_its_joint_images():
    assert load_config().data.num_images == IMAGES
    assert load_config().train.batch_size == 32


def test_latte_presets_shows_the_values_without_images():
    shown = succeed("presets", "faceforensics", "-o", "data.num_images=0").stdout
    rows = {line.split()[0]: line.split()[1:3] for line in shown.splitlines() if line.strip()}
    assert rows["train.clip_from_step"] == ["20000", "preset"]
    assert rows["train.batch_size"] == ["40", "preset"]


def preset(path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_values_without_images_give_way_to_overrides_and_to_presets_built_on_them(tmp_path):
    words = ["data.num_images=0", "train.batch_size=7"]
    assert load_config("faceforensics", words).train.batch_size == 7
    assert load_config("faceforensics", [], {"data.num_images": 0}).train.batch_size == 40
    mine = preset(
        tmp_path / "mine.yaml",
        "base: faceforensics\ndata: {num_images: 0}\ntrain: {batch_size: 6}\n",
    )
    config = load_config(mine)
    assert (config.train.batch_size, config.train.clip_from_step) == (6, 20_000)
    origins = {source.key: source.origin for source in config_sources(mine)}
    assert origins["train.batch_size"] == "preset"
    assert origins["train.clip_from_step"] == "base faceforensics"


def test_tubes_have_no_images_and_so_the_values_without():
    config = load_config("faceforensics", ["model.patch_embedding=compression"])
    assert (config.data.num_images, config.train.batch_size) == (0, 40)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("without_images: {train: {lrr: 1}}\n", r"unknown key `train\.lrr`"),
        ("without_images: {data: {num_images: 4}}\n", "data.num_images"),
        ("without_images: 3\n", "without_images"),
        ("without_images: {train: 3}\n", "without_images"),
    ],
)
def test_a_mistake_in_the_values_without_images_is_an_error_even_with_images(
    tmp_path, text, message
):
    with pytest.raises(ConfigError, match=message):
        load_config(preset(tmp_path / "mine.yaml", "base: ucf101\n" + text))
