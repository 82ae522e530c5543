"""Clips shared among processes: the same outputs and gradients as in one."""

import json
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from conftest import HERE

from latte_cli.models import Latte
from latte_cli.models.sequence.clips import ClipShare, bytes_per_step
from latte_cli.models.sequence.groups import SequenceGroup
from latte_cli.models.shapes import LatteShape

SCRIPT = HERE / "helpers" / "sequence_ranks.py"


@pytest.fixture(scope="module", params=[2, 4])
def differences(request) -> dict[str, list[float]]:
    """Of each network, of its output and its gradients, for five frames and nine positions."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(request.param)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout)


def test_processes_that_share_clips_compute_what_one_does(differences):
    assert len(differences) == 7
    assert max(max(each) for each in differences.values()) < 1e-5


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7])
def test_every_frame_belongs_to_one_process(processes):
    """Seven frames, of which the last two are images."""
    shares = [ClipShare(7, SequenceGroup(None, processes, rank)) for rank in range(processes)]
    assert [frame for share in shares for frame in share.own_frames] == list(range(7))


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_bytes_of_a_step_are_those_that_are_counted(processes, monkeypatch):
    """Variant 1 of four blocks changes the axis four times, and the gradients go back."""
    shape = LatteShape(latent_size=8, num_frames=8, patch=2, width=24, depth=4, heads=2)
    sent = []

    def exchange(received, parts, group):
        sent.append(parts[1:].nbytes)  # all but what stays
        received.copy_(parts)

    monkeypatch.setattr(dist, "all_to_all_single", exchange)
    monkeypatch.setattr(dist, "all_gather", lambda parts, x, group: None)
    model = Latte(shape)
    model.sequence_group = SequenceGroup(None, processes, 0) if processes > 1 else None
    x = torch.randn(2, 8, 4, 8, 8)
    model(x, torch.tensor([1, 2])).sum().backward()
    assert sum(sent) == bytes_per_step(shape, 8, 2, itemsize=4, processes=processes)
    assert (sum(sent) > 0) == (processes > 1)
