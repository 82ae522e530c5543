"""Images in training batches: single frames of any video, behind the clips (section 3.3.4)."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

import pytest
import torch
from helpers.latent_sets import write_latents

from latte_cli.config import load_config
from latte_cli.data.batch import Batch
from latte_cli.data.clips import ClipSampler
from latte_cli.data.latents.reading import LatentMeta, LatentSet
from latte_cli.runtime.errors import DataError
from latte_cli.vae import Moments

SCALE, CLIPS, FRAMES, NULL = 0.5, 16, 4, 8
LENGTHS = (30, 20, 10, 4)
META = LatentMeta("embedded", "abc", SCALE, 4, 64, "center", True, tuple("abcd"), videos=4)


def moments(first: int, frames: int) -> Moments:
    mean = torch.arange(first, first + frames).float().view(-1, 1, 1, 1).expand(-1, 4, 8, 8)
    return Moments(mean, torch.full_like(mean, 0.25))


@pytest.fixture
def latents(tmp_path):
    """Video k, of label k: frame n is 200 k + n everywhere, 100 higher where mirrored."""
    videos = []
    for k, frames in enumerate(LENGTHS):
        split = "test" if k == 1 else "train"
        row = {"path": f"{k}.mp4", "sha256": "00", "frames": frames, "label": k, "split": split}
        videos.append((row, [moments(200 * k, frames), moments(200 * k + 100, frames)]))
    return write_latents(tmp_path, META, videos)


def sampler(latents: LatentSet, images: int, **values: object) -> ClipSampler:
    """Clips of four frames, every second, with some images."""
    chosen = {
        "data.frames": FRAMES,
        "data.interval": 2,
        "data.flip": "true",
        "data.num_images": images,
        "train.batch_size": CLIPS,
    }
    chosen |= {key.replace("__", "."): value for key, value in values.items()}
    config = load_config("shapes", [f"{key}={value}" for key, value in chosen.items()])
    return ClipSampler(latents, config, SCALE)


def shown(batch: Batch) -> torch.Tensor:
    """The value of the frame that each image is drawn from: (b, i)."""
    pictures = batch.x_start[:, FRAMES:] / SCALE
    means = pictures.mean(dim=(2, 3, 4))
    assert (pictures.std(dim=(2, 3, 4)) - 0.25).abs().max() < 0.06, "one draw of one frame"
    assert (means - means.round()).abs().max() < 0.1
    return means.round().long()


def test_images_are_single_frames_of_any_video_of_the_split(latents):
    drawing, seen = sampler(latents, images=5), set()
    for step in range(8):
        batch = drawing.batch(step)
        assert batch.num_images == batch.cond["num_images"] == 5
        assert batch.x_start.shape == batch.noise.shape == (CLIPS, FRAMES + 5, 4, 8, 8)
        assert batch.y_image.shape == (CLIPS, 5)
        values = shown(batch)
        assert (values % 100 < torch.tensor(LENGTHS)[values // 200]).all(), "a frame it has"
        seen |= {divmod(int(value) // 100, 2) for value in values.flatten()}
    every = {(video, mirrored) for video in (0, 2, 3) for mirrored in (0, 1)}
    assert seen == every, "also of a video too short for a clip, never of the test split"


def test_images_have_their_videos_labels_with_some_dropped(latents):
    batch = sampler(latents, images=60).batch(0)
    dropped = batch.y_image == NULL
    assert torch.equal(batch.y_image[~dropped], (shown(batch) // 200)[~dropped])
    assert 50 < int(dropped.sum()) < 145, "a tenth of 960"


def test_images_change_nothing_about_the_clip(latents):
    plain, joint = (sampler(latents, images).batch(3) for images in (0, 5))
    assert plain.num_images == 0
    assert plain.y_image is None
    assert torch.equal(joint.x_start[:, :FRAMES], plain.x_start)
    assert torch.equal(joint.noise[:, :FRAMES], plain.noise)
    assert torch.equal(joint.t, plain.t)
    assert torch.equal(joint.y, plain.y)


def test_images_differ_between_steps_and_clips(latents):
    drawing = sampler(latents, images=5)
    first, again, later = (shown(drawing.batch(step)) for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert len({tuple(row) for row in first.tolist()}) == CLIPS
    noise = drawing.batch(0).noise[:, FRAMES:].flatten(0, 1)
    assert len({float(part.sum()) for part in noise}) == CLIPS * 5


def test_an_unconditional_network_gets_images_without_labels(latents):
    values = {"model__condition": "none", "model__num_classes": "null"}
    batch = sampler(latents, images=2, **values).batch(0)
    assert batch.y is None
    assert batch.y_image is None
    assert batch.cond == {"num_images": 2}
    assert batch.x_start.shape[1] == FRAMES + 2


def test_labels_that_only_images_have_are_checked_too(latents):
    """Video 3 is too short for a clip: without images its label is never used."""
    assert sampler(latents, images=0, model__num_classes=3).too_short == 1
    with pytest.raises(DataError, match=r"label 3, but model.num_classes is 3"):
        sampler(latents, images=1, model__num_classes=3)
