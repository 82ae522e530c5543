"""Frame similarity: identities of its statistics; hooks do not change the network's output."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from latte_cli.evaluation.results.plots import save_figure
from latte_cli.evaluation.similarity import (
    Similarity,
    SimilarityAt,
    SimilarityCollector,
    as_values,
    cosines,
    count_inversions,
    plot_similarity,
    split_attention_output,
    unit_features,
)
from latte_cli.evaluation.similarity.measures import PLACES
from latte_cli.models import Latte, LatteShape
from latte_cli.runtime.errors import ShapeError

DESIGNS = [
    {"variant": 1},
    {"variant": 2},
    {"variant": 3},
    {"variant": 4},
    {"variant": 1, "tube": 2},
    {"variant": 3, "injection": "tokens"},
    {"variant": 4, "injection": "tokens", "tube": 2},
    {"variant": 4, "temporal_position": "rope", "num_classes": None},
    {"variant": 5, "temporal_position": "rope"},
    {"variant": 6},
]


def network(**design):
    """A network of 6 frames and 4 tokens per frame, in which every parameter matters."""
    design = {"num_classes": 3} | design
    model = Latte(LatteShape(4, 6, 2, 16, 2, 4, **design)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def inputs(model, clips=3):
    """Clips that drift, timesteps and labels; None for labels that the network does not take."""
    steps = torch.randn(clips, 6, 4, 4, 4) * torch.tensor([1.0, *[0.4] * 5])[:, None, None, None]
    y = None if model.null_label is None else torch.tensor([0, 3, 1])[:clips]
    return steps.cumsum(1), torch.tensor([0, 500, 999])[:clips], y


def measured(model, *batches):
    collector = SimilarityCollector(model)
    for batch in batches:
        collector.add(*batch)
    return collector.result()


def places(blocks):
    """Everything found, by block and place."""
    return {(b.number, p): found for b in blocks for p in PLACES if (found := b.at(p))}


def seen_by_hooks(model, batch, *names):
    """Outputs of modules, by name."""
    seen = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: seen.__setitem__(name, out)
        )
        for name in names
    ]
    with torch.no_grad():
        model(*batch)
    for handle in handles:
        handle.remove()
    return [seen[name] for name in names]


def reference(a, b):
    """Mean over clips of the cosines of a's frames with b's, written out in NumPy."""
    a, b = (x.double().numpy().reshape(*x.shape[:2], -1) for x in (a, b))
    total = np.zeros((a.shape[1], a.shape[1]))
    for one, other in zip(a, b, strict=True):
        lengths = np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
        total += one @ other.T / lengths
    return total / len(a)


def test_equal_frames_have_similarity_one_without_variance_or_inversions():
    frames = torch.randn(2, 1, 4, 16).expand(-1, 5, -1, -1)
    features = unit_features(frames)
    found = Similarity.from_matrix(cosines(features, features).mean(0))
    assert found.mean == pytest.approx(1)
    assert found.variance == pytest.approx(0, abs=1e-20)
    assert (found.inverted.count, found.inverted.triples) == (0, 20)


def test_a_spatial_block_keeps_equal_frames_equal_and_a_temporal_one_does_not():
    model = network(variant=1)
    _, t, y = inputs(model)
    still = torch.randn(3, 1, 4, 4, 4).expand(-1, 6, -1, -1, -1)
    space, time = measured(model, (still, t, y))
    assert space.output.mean == pytest.approx(1)
    assert time.output.mean < 1 - 1e-5, "it has the frames' positions"


def test_inversions_are_counted_as_in_the_paper():
    frame = torch.arange(5)
    drifting = 1 - (frame[:, None] - frame).abs() / 10
    assert count_inversions(drifting).count == 0
    assert count_inversions(drifting).triples == 20
    assert count_inversions(-drifting).count == 20, "all triples"
    drifting[0, 4] = (
        0.95  # the first is more similar to the fifth than to the second, third and fourth
    )
    assert count_inversions(drifting).count == 3
    drifting[4, 0] = 0.95
    assert count_inversions(drifting).count == 6


def test_mean_and_variance_are_over_pairs_of_different_frames():
    matrix = torch.rand(4, 4)
    found, pairs = Similarity.from_matrix(matrix), matrix.double().numpy()[~np.eye(4, dtype=bool)]
    assert found.mean == pytest.approx(pairs.mean())
    assert found.variance == pytest.approx(pairs.var())


def test_a_single_frame_raises_shape_error():
    with pytest.raises(ShapeError, match="1 frame in a clip"):
        Similarity.from_matrix(torch.ones(1, 1))


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_collecting_does_not_change_the_output_and_leaves_no_hooks(design):
    model = network(**design)
    batch = inputs(model)
    with torch.no_grad():
        plain = model(*batch)
    collector = SimilarityCollector(model)
    assert torch.equal(collector.add(*batch), plain)
    with pytest.raises(ShapeError):
        collector.add(batch[0][:, :, :3], *batch[1:])
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert collector.clips == 3, "the failed batch does not count"


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_every_design_has_its_places_measured(design):
    model = network(**design)
    found = places(measured(model, inputs(model)))
    apart = PLACES if design["variant"] in (3, 4) else PLACES[:1]
    assert set(found) == {(number, place) for number in (0, 1) for place in apart}
    frames = 6 // design.get("tube", 1)
    for (_, place), similarity in found.items():
        assert similarity.matrix.shape == (frames, frames)
        assert similarity.matrix.abs().max() <= 1 + 1e-12
        if place != "mutual":
            torch.testing.assert_close(similarity.matrix.diagonal(), torch.ones(frames).double())
            torch.testing.assert_close(similarity.matrix, similarity.matrix.T)


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_block_similarity_excludes_conditioning_tokens(design):
    model = network(**design)
    batch = inputs(model)
    outputs = seen_by_hooks(model, batch, "blocks.0", "blocks.1")
    for block, tokens in zip(measured(model, batch), outputs, strict=True):
        own = tokens[:, :, :4]
        np.testing.assert_allclose(block.output.matrix, reference(own, own), atol=1e-9)


def test_both_attentions_of_variant_3_are_compared():
    model = network(variant=3)
    batch = inputs(model)
    space, time = seen_by_hooks(model, batch, "blocks.1.attn", "blocks.1.temporal_attn")
    found = measured(model, batch)[1]
    for place, pair in {"space": (space, space), "time": (time, time)}.items():
        np.testing.assert_allclose(found.at(place).matrix, reference(*pair), atol=1e-9)
    np.testing.assert_allclose(found.mutual.matrix, reference(space, time), atol=1e-9)


def test_the_parts_of_variant_4_sum_to_its_attention_output():
    attention = network(variant=4).blocks[0].attn
    seen = []
    attention.proj.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        out = attention(torch.randn(2, 6, 4, 16))
        space, time = split_attention_output(attention, seen[0])
        torch.testing.assert_close(space + time + attention.proj.bias, out)
        only_space = torch.cat([seen[0][..., :8], torch.zeros(2, 6, 4, 8)], dim=-1)
        torch.testing.assert_close(
            space, attention.proj.forward(only_space) - attention.proj.bias, atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("design", DESIGNS[2:4], ids=str)
def test_the_batch_size_does_not_matter(design):
    model = network(**design)
    x, t, y = inputs(model)
    together = places(measured(model, (x, t, y)))
    apart = places(measured(model, (x[:2], t[:2], y[:2]), (x[2:], t[2:], y[2:])))
    for key, similarity in together.items():
        torch.testing.assert_close(similarity.matrix, apart[key].matrix, atol=1e-6, rtol=0)


def test_json_values():
    model = network(variant=4)
    written = json.loads(json.dumps(as_values(SimilarityAt(7, measured(model, inputs(model))))))
    assert written["timestep"] == 7
    first = written["blocks"][0]
    assert (first["block"], first["attention"]) == (0, "space and time")
    assert set(first) == {"block", "attention", *PLACES}
    assert set(first["mutual"]) == {"mean", "variance", "inverted", "triples", "matrix"}
    assert np.shape(first["mutual"]["matrix"]) == (6, 6)


@pytest.mark.parametrize("design", [{"variant": 1}, {"variant": 3}, {"variant": 6}], ids=str)
def test_the_figure_has_every_block_at_every_timestep(design):
    model = network(**design)
    blocks = measured(model, inputs(model))
    places = len(PLACES) if design["variant"] == 3 else 1
    for timesteps in ([500], [5, 500]):
        figure = plot_similarity("clips", [SimilarityAt(t, blocks) for t in timesteps])
        matrices = [axes for axes in figure.axes if axes.images]
        assert len(matrices) == len(timesteps) * places * len(blocks)
        np.testing.assert_array_equal(matrices[0].images[0].get_array(), blocks[0].output.matrix)
        curves = [axes for axes in figure.axes if axes.get_title() == "mean similarity"]
        assert len(curves) == len(timesteps)
        means = {y for line in curves[0].lines for y in line.get_ydata()}
        found = [block.at(place) for block in blocks for place in PLACES]
        assert means == {similarity.mean for similarity in found if similarity}


def test_equal_frames_are_plotted(tmp_path):
    model = network(variant=1)
    with torch.no_grad():
        model.temp_embed.zero_()
    _, t, y = inputs(model)
    blocks = measured(model, (torch.ones(3, 6, 4, 4, 4), t, y))
    assert blocks[1].output.variance == pytest.approx(0, abs=1e-12)
    save_figure(plot_similarity("still", [SimilarityAt(0, blocks)]), tmp_path / "s.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.png", "s.svg"]
