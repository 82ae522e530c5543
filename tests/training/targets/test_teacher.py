"""Distillation: the target is a trained network's guided velocity."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small import random_batch, small_config, take_step

from latte_cli.checkpoints.folder import CheckpointMeta, save_for_sampling
from latte_cli.config import load_config
from latte_cli.data.texts.batches import Texts
from latte_cli.diffusion import Diffusion
from latte_cli.diffusion.flow_map import map_step_losses
from latte_cli.models import build_model
from latte_cli.runtime.errors import CheckpointError, ConfigError, DataError
from latte_cli.training.state import checkpoint_parts, new_state
from latte_cli.training.targets.guidance import guidance_shift
from latte_cli.training.targets.teacher import (
    check_autoencoder,
    check_labels,
    for_teacher,
    load_teacher,
    teacher_path,
    teacher_shift,
)

CPU = torch.device("cpu")
NO_TEACHER = ["train.teacher_reuse=1", "train.teacher_guidance=1"]
FLOW = {"diffusion__objective": "flow", "train__min_snr_gamma": "null", "model__num_classes": 3}


class OfLabel:
    """Answers its label, whatever it sees."""

    def __call__(self, x, t, y, **_):
        return y.float()[:, None, None, None, None].expand_as(x)


@pytest.fixture
def teacher(tmp_path):
    """A checkpoint of a random network that predicts a velocity."""
    config = small_config(**FLOW)
    torch.manual_seed(3)
    model = build_model(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    meta = CheckpointMeta(step=1, vae_fingerprint="0", scaling_factor=1.0)
    save_for_sampling(tmp_path / "teacher", config, meta, model.state_dict())
    return tmp_path / "teacher"


def test_the_target_is_the_guided_answer():
    config = small_config(**FLOW)
    batch = replace(random_batch(config), y=torch.tensor([1, 3] * (config.train.batch_size // 2)))
    diffusion = Diffusion(**config.diffusion.model_dump())
    own = diffusion.target(batch.x_start, batch.t, batch.noise)
    target = own + teacher_shift(OfLabel(), batch, diffusion, 2.0, 3)
    guided = torch.full_like(target[0::2], 3 + 2 * (1 - 3))
    torch.testing.assert_close(target[0::2], guided)
    torch.testing.assert_close(target[1::2], torch.full_like(guided, 3)), "no label, no guidance"


LEVELS = [1, 0.7, 0.4, 0.2]


@pytest.mark.parametrize(("steps", "within"), [(2, 0.08), (8, 0.005), (32, 0.0003)])
def test_a_path_is_where_the_teacher_leads(steps, within):
    """Of dx/ds = 2 s x, whose solution is exponential, by a method of order 2."""
    batch = random_batch(small_config(**FLOW))
    diffusion = Diffusion(objective="flow-map", map_levels=LEVELS)
    times = []

    def velocity(x, t, **_):
        times.append(t)
        return 2 * (t + 1)[:, None, None, None, None] / 1000 * x

    path = teacher_path(velocity, batch, diffusion, 1.0, 3, steps)
    assert torch.equal(path[:, 0], batch.noise)
    for number, level in enumerate([*LEVELS, 0]):
        exact = math.exp(level**2 - 1) * batch.noise
        assert ((path[:, number] - exact).norm() / exact.norm()).item() < within
    assert len(times) == 4 * steps + 1


def test_a_path_is_guided():
    config = small_config(**FLOW)
    batch = replace(random_batch(config), y=torch.tensor([1, 3] * (config.train.batch_size // 2)))
    diffusion = Diffusion(objective="flow-map", map_levels=LEVELS)
    path = teacher_path(OfLabel(), batch, diffusion, 2.0, 3, 2)
    led = path[:, 1] - path[:, 0]
    torch.testing.assert_close(led[0::2], torch.full_like(led[0::2], -0.3 * (3 + 2 * (1 - 3))))
    torch.testing.assert_close(led[1::2], torch.full_like(led[1::2], -0.3 * 3))


def test_a_step_between_levels_learns_what_its_teacher_does(teacher):
    """With guidance: the loss is least for a step of its guided path."""
    levels = {"diffusion__objective": "flow-map", "diffusion__map_levels": LEVELS}
    config = small_config(
        **FLOW | levels, train__teacher=str(teacher), train__teacher_guidance=2.0,
        train__teacher_steps=2,
    )  # fmt: skip
    state, diffusion = new_state(config, CPU), Diffusion(**config.diffusion.model_dump())
    given = random_batch(config)
    t = torch.tensor([999, 199] * (config.train.batch_size // 2))
    batch = replace(given, t=t, end=torch.where(t == 999, 699, -1))
    path = teacher_path(state.teacher, batch, diffusion, 2.0, 3, 2)
    is_first = (t == 999)[:, None, None, None, None]
    x_t = torch.where(is_first, path[:, 0], path[:, 3])
    target = torch.where(is_first, (path[:, 1] - x_t) / -0.3, (path[:, 4] - x_t) / -0.2)
    with torch.no_grad():
        out = state.model(x_t, batch.t, batch.y, end=batch.end)[:, :, :4]
    found = take_step(state, config, batch)
    torch.testing.assert_close(found.mse, (out - target).square().mean())


def test_a_batch_that_is_drawn_again_is_taken_along_its_path(teacher, monkeypatch):
    """Each time with the next step, after the last the first; the teacher leads it only once."""
    config = small_config(
        **FLOW | {"diffusion__objective": "flow-map"}, train__teacher=str(teacher),
        diffusion__map_levels=LEVELS, train__teacher_reuse=6,
    )  # fmt: skip
    state, diffusion = new_state(config, CPU), Diffusion(**config.diffusion.model_dump())
    paths = []

    def counted(*arguments):
        paths.append(arguments)
        return teacher_path(*arguments)

    monkeypatch.setattr("latte_cli.training.step.teacher_path", counted)
    t = torch.tensor([999, 199] * (config.train.batch_size // 2))
    given = replace(random_batch(config), t=t, end=diffusion.next_steps(t, 0)[1])
    path = teacher_path(state.teacher, given, diffusion, 1.0, 3, 3)
    taken = []
    for turn in range(6):
        state.step, state.data_offset = 0, 64 * turn
        start, end = diffusion.next_steps(t, turn)
        with torch.no_grad():
            weight = state.model.time_weight(start, end)
            expected = map_step_losses(
                state.model, diffusion, path, start, end, weight, y=given.y
            ).total
        found = take_step(state, config, given)
        torch.testing.assert_close(found.loss_per_clip, expected)
        taken.append(found.t.tolist()[:2])
    assert taken == [[999, 199], [699, 999], [399, 699], [199, 399], [999, 199], [699, 999]]
    assert len(paths) == 1


def test_without_a_derivative_blocks_can_be_recomputed(teacher):
    found = []
    for way in ("none", "blocks"):
        config = small_config(
            **FLOW | {"diffusion__objective": "flow-map"}, train__teacher=str(teacher),
            diffusion__map_levels=LEVELS, train__checkpointing=way,
        )  # fmt: skip
        state, given = new_state(config, CPU), random_batch(config)
        t = torch.full_like(given.t, 699)
        take_step(state, config, replace(given, t=t, end=torch.full_like(t, 399)))
        found.append(state.model.state_dict())
    torch.testing.assert_close(*found)


def test_batches_are_drawn_in_rounds():
    train = small_config(**FLOW, train__teacher="runs/flow", train__teacher_reuse=2).train
    drawn = [train.drawn_batch(number) for number in range(256)]
    assert drawn == [*range(64)] * 2 + [*range(64, 128)] * 2
    before = [train.drawn_before(number) for number in range(256)]
    assert before == ([0] * 64 + [1] * 64) * 2
    assert [small_config(**FLOW).train.drawn_batch(number) for number in range(99)] == [*range(99)]


@pytest.mark.parametrize("ask", [teacher_shift, teacher_path])
def test_a_batch_that_is_drawn_again_has_the_answer_of_its_first_time(teacher, monkeypatch, ask):
    """Training is that of asking each time, bit for bit; answers of earlier rounds are not kept."""
    words = {**FLOW, "train__teacher": str(teacher), "train__teacher_reuse": 2}
    if ask is teacher_path:
        words |= {"diffusion__objective": "flow-map", "diffusion__map_levels": LEVELS}
    config = small_config(**words)
    diffusion = Diffusion(**config.diffusion.model_dump())
    asked, found = [], []

    def counted(*arguments):
        asked.append(arguments)
        return ask(*arguments)

    def batch_of(drawn):
        batch = random_batch(config, drawn)
        if ask is teacher_shift:
            return batch
        t, end = diffusion.next_steps(torch.full_like(batch.t, 399), 0)
        return replace(batch, t=t, end=end)

    monkeypatch.setattr(f"latte_cli.training.step.{ask.__name__}", counted)
    for forgets in (False, True):
        state = new_state(config, CPU)
        for number in (0, 1, 64, 65, 128):
            state.step, state.data_offset = 0, number
            if forgets:
                state.answers.forget()
            drawn = config.train.drawn_batch(number)
            take_step(state, config, batch_of(drawn))
        found.append((len(asked), state.model.state_dict()))
        assert [state.answers.find((drawn, 1)) is not None for drawn in (0, 1, 64)] == [0, 0, 1]
    (few, learned), (more, expected) = found
    assert (few, more - few) == (3, 5)
    assert all(torch.equal(learned[name], value) for name, value in expected.items())


def test_answers_need_a_teacher():
    with pytest.raises(ConfigError, match=r"is 4, but train\.teacher is not set"):
        small_config(**FLOW, train__teacher_reuse=4)


@pytest.mark.parametrize("objective", ["flow", "flow-map"])
def test_a_network_that_equals_its_teacher_has_nothing_to_learn(objective, teacher):
    """Of a flow map that is so for the clips whose steps lead nowhere: it is a flow there."""
    config = small_config(
        **{**FLOW, "diffusion__objective": objective}, train__teacher=str(teacher)
    )
    state = new_state(config, CPU)
    state.model.load_state_dict(load_teacher(config, CPU).state_dict(), strict=False)
    batch = random_batch(config)
    batch = replace(batch, end=batch.t.clone() if objective == "flow-map" else None)
    found = take_step(state, config, batch)
    assert float(found.mse) < 1e-8
    without = take_step(new_state(small_config(**FLOW), CPU), small_config(**FLOW), batch)
    assert float(without.mse) > 0.1


def test_the_teacher_is_no_part_of_checkpoints_and_does_not_learn(teacher):
    config = small_config(**FLOW, train__teacher=str(teacher), train__teacher_guidance=2.0)
    state = new_state(config, CPU)
    before = {name: value.clone() for name, value in state.teacher.state_dict().items()}
    take_step(state, config, random_batch(config))
    assert all(torch.equal(value, before[n]) for n, value in state.teacher.state_dict().items())
    plain = new_state(small_config(**FLOW), CPU)
    assert checkpoint_parts(state).keys() == checkpoint_parts(plain).keys()


def test_a_teacher_that_does_not_fit_is_an_error(teacher, tmp_path):
    other = small_config(**{**FLOW, "model__num_classes": 5}, train__teacher=str(teacher))
    with pytest.raises(CheckpointError, match=r"model\.num_classes 3, where 5 is needed"):
        load_teacher(other, CPU)
    nothing = small_config(**FLOW, train__teacher=str(tmp_path))
    with pytest.raises(CheckpointError, match="no checkpoint of this project"):
        load_teacher(nothing, CPU)


def test_a_teacher_of_another_autoencoder_is_an_error(teacher):
    taught = small_config(**FLOW, train__teacher=str(teacher))
    check_autoencoder(taught, "0")
    check_autoencoder(small_config(**FLOW), "1")
    with pytest.raises(CheckpointError, match="latents of another autoencoder"):
        check_autoencoder(taught, "1")


def test_steps_between_levels_need_a_teacher():
    """When they are learned: a network that knows them is sampled without."""
    config = load_config("shapes-map", ["train.teacher=null", *NO_TEACHER])
    with pytest.raises(ConfigError, match="a teacher shows"):
        load_teacher(config, CPU)


def test_a_network_with_text_learns_what_a_teacher_says_of_the_label():
    """Clips whose caption is dropped learn its answer without a label, and no text is passed on."""
    config = small_config(**FLOW)
    given = random_batch(config)
    labels = torch.tensor([1, -1] * (config.train.batch_size // 2))
    texts = Texts(torch.ones(len(labels), 2, 5), torch.ones(len(labels), 2, dtype=torch.bool))
    batch = replace(given, y=None, texts=texts, teacher_y=labels)
    diffusion = Diffusion(**config.diffusion.model_dump())
    own = diffusion.target(batch.x_start, batch.t, batch.noise)
    target = own + teacher_shift(OfLabel(), batch, diffusion, 1.0, 3)
    torch.testing.assert_close(target[0::2], torch.ones_like(target[0::2]))
    torch.testing.assert_close(target[1::2], torch.full_like(target[1::2], 3.0))


def test_a_teacher_may_say_but_what_the_label_changes():
    """Then clips are learned, with w (its answer with the label - without) added to the target."""
    config = small_config(**FLOW)
    labels = torch.tensor([1, -1] * (config.train.batch_size // 2))
    texts = Texts(torch.ones(len(labels), 2, 5), torch.ones(len(labels), 2, dtype=torch.bool))
    batch = replace(random_batch(config), y=None, texts=texts, teacher_y=labels)
    diffusion = Diffusion(**config.diffusion.model_dump())
    train = config.train.model_copy(update={"guidance_target": 2.0})
    shift = guidance_shift(OfLabel(), for_teacher(batch, 3), 3, diffusion, train)
    assert (shift[0::2] == 2.0 * (1 - 3)).all()
    assert (shift[1::2] == 0).all(), "a dropped caption tells nothing"


def test_a_step_adds_what_the_label_changes_for_the_teacher(teacher):
    taught = {"train__teacher": str(teacher), "train__guidance_target": 2.0}
    config = small_config(**FLOW, **taught, train__guidance_target_from="teacher")
    state, batch = new_state(config, CPU), random_batch(config)
    diffusion = Diffusion(**config.diffusion.model_dump())
    shift = guidance_shift(state.teacher, batch, 3, diffusion, config.train)
    expected = diffusion.losses(
        state.model, batch.x_start, batch.t, batch.noise, target_shift=shift, **batch.cond
    )
    assert shift.abs().max() > 0.01
    found = take_step(state, config, batch)
    torch.testing.assert_close(found.loss_per_clip, expected.total.detach())


def test_videos_need_labels_that_the_teacher_knows(teacher, tmp_path):
    known = load_teacher(small_config(**FLOW, train__teacher=str(teacher)), CPU)
    check_labels(known, np.array([0, 2]), tmp_path)
    check_labels(None, np.array([7]), tmp_path)
    for labels, said in ((np.array([0, 3]), "label 3"), (np.array([-1, 0]), "without a label")):
        with pytest.raises(DataError, match=said):
            check_labels(known, labels, tmp_path)


@pytest.mark.parametrize(
    ("preset", "words", "message"),
    [
        ("ucf101", [], "learn a velocity"),
        ("t2v-shapes", ["stages=[]", "data.num_images=2"], "labels of videos"),
        ("shapes-fast", ["train.guidance_target=0.5"], "both say what is learned"),
        ("shapes-fast", ["train.guidance_target_from=teacher"], "guidance_target is not set"),
        ("shapes-fast", ["train.teacher=null", "train.teacher_guidance=2"], "teacher is not set"),
        (
            "shapes-fast",
            [
                "train.guidance_target=1",
                "train.guidance_target_from=teacher",
                "train.teacher_guidance=2",
            ],
            "says what is added",
        ),
        ("skytimelapse-fast", ["train.teacher_guidance=2"], "no label to be guided by"),
    ],
)
def test_what_a_teacher_does_not_go_together_with_is_an_error(preset, words, message):
    with pytest.raises(ConfigError, match=message):
        load_config(preset, ["train.teacher=embedded/shapes-fast", *words])
