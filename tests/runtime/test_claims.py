"""Work is divided among processes by files that only one of them can create."""

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from latte_cli.runtime import claims
from latte_cli.runtime.claims import STALE_S, claimed, holder_of

HOLD = """
import sys
from pathlib import Path
from latte_cli.runtime.claims import claimed
with claimed(Path(sys.argv[1])) as is_ours:
    print(is_ours, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def claim(tmp_path) -> Path:
    return tmp_path / "work" / "000003.claim"


def hold(claim: Path) -> subprocess.Popen[str]:
    """Another process that holds a claim until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(claim)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def write(claim: Path, silent_s: float, **holder: object) -> None:
    """A claim whose holder has been silent for a while."""
    claim.parent.mkdir(exist_ok=True)
    claim.write_text(json.dumps(holder))
    os.utime(claim, times=(time.time() - silent_s,) * 2)


def test_only_one_of_two_processes_holds_a_claim(claim):
    process = hold(claim)
    with claimed(claim) as is_ours:
        assert not is_ours
        assert claim.is_file(), "it is still the other's"
    assert holder_of(claim) == f"process {process.pid} on {socket.gethostname()}"
    process.communicate()
    assert not claim.exists(), "released"
    with claimed(claim) as is_ours:
        assert is_ours
    assert list(claim.parent.iterdir()) == []


def test_the_claim_of_a_killed_process_is_taken_over_at_once(claim):
    process = hold(claim)
    process.kill()
    process.communicate()
    assert claim.is_file()
    with claimed(claim) as is_ours:
        assert is_ours
    assert list(claim.parent.iterdir()) == []


def test_a_claim_is_held_once_within_a_process(claim):
    with claimed(claim) as first, claimed(claim) as second:
        assert (first, second) == (True, False)


def test_a_claim_of_an_earlier_process_with_the_same_pid_is_stale(claim):
    """As in containers, where the first process always has pid 1."""
    write(claim, 1, host=claims._host(), pid=os.getpid(), token="unknown")
    with claimed(claim) as is_ours:
        assert is_ours


def test_the_claim_of_another_node_is_stale_after_a_long_silence(claim):
    for silent_s, expected in ((STALE_S - 60, False), (STALE_S + 60, True)):
        write(claim, silent_s, host="elsewhere 1", pid=1, token="theirs")
        assert holder_of(claim) == "process 1 on elsewhere"
        with claimed(claim) as is_ours:
            assert is_ours is expected


def test_an_unreadable_claim_becomes_stale_soon(claim):
    for silent_s, expected in ((0, False), (60, True)):
        write(claim, silent_s)
        assert holder_of(claim) == ""
        with claimed(claim) as is_ours:
            assert is_ours is expected


def test_silence_is_measured_by_the_clock_of_the_disk(claim, monkeypatch):
    write(claim, STALE_S - 60, host="elsewhere 1", pid=1, token="theirs")
    monkeypatch.setattr(time, "time", lambda: 4e9)  # this machine's own is wrong
    with claimed(claim) as is_ours:
        assert not is_ours


def test_a_held_claim_has_a_heartbeat(claim, monkeypatch):
    monkeypatch.setattr(claims, "_HEARTBEAT_S", 0.01)
    with claimed(claim):
        os.utime(claim, times=(1, 1))
        deadline = time.monotonic() + 30
        while claim.stat().st_mtime < 2:
            assert time.monotonic() < deadline


def test_a_claim_taken_over_is_not_removed_by_its_old_holder(claim):
    with claimed(claim) as is_ours:
        assert is_ours
        claim.unlink()
        write(claim, 0, host="elsewhere 1", pid=1, token="theirs")
    assert holder_of(claim) == "process 1 on elsewhere"


def test_only_one_process_takes_over_a_stale_claim(claim):
    def take(answers: list[bool]) -> None:
        with claimed(claim) as is_ours:
            answers.append(is_ours)
            while len(answers) < 2:
                time.sleep(0.001)

    for _ in range(20):
        write(claim, STALE_S + 60, host="elsewhere 1", pid=1, token="theirs")
        answers: list[bool] = []
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(take, [answers, answers]))
        assert sorted(answers) == [False, True]
        assert list(claim.parent.iterdir()) == []


def test_no_empty_claim_is_left_on_a_full_disk(claim, monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OSError, match="No space left"), claimed(claim):
        pass
    assert list(claim.parent.iterdir()) == []
