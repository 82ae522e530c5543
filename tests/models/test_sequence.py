"""Clips shared among processes: the same outputs and gradients as in one."""

import json
import subprocess
import sys

import pytest
from conftest import HERE

from latte_cli.models.sequence import ClipShare, SequenceGroup, bytes_per_exchange

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
    assert len({len(share.own_frames) for share in shares[:1]}) == 1


def test_what_an_exchange_sends():
    """DSP, table 1: (n - 1) / n of a process's part of the tokens, for an all-to-all."""
    tokens = 2 * 16 * 64
    sent = bytes_per_exchange(2, 16, 64, width=8, itemsize=4, processes=4)
    assert sent == tokens // 4 * 3 // 4 * 8 * 4
    assert bytes_per_exchange(2, 16, 64, width=8, itemsize=4, processes=1) == 0
