"""`gpu.py` as it runs on a bare machine, tried on the CPU; and parts that fail."""

import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest
from conftest import HERE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="parts are forks")

SCRIPT = HERE / "benchmarks" / "gpu.py"
ABSENT = ("decord", "av", "imageio_ffmpeg", "ftfy", "bs4", "rarfile")
"""What is in the package's dependencies and not on such a machine."""
WITHOUT = f"""
import runpy, sys
sys.argv = sys.argv[1:]
sys.modules.update(dict.fromkeys({ABSENT!r}))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def script(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import gpu

    monkeypatch.setattr(gpu, "GRACE_S", 0.5)
    return gpu


def test_all_parts_run_from_a_checkout_without_what_a_bare_machine_lacks(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = ["--device", "cpu", "--tiny", "--minutes", "30", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(SCRIPT), *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert len(results) == 11
    rows = [row for part in results.values() for row in part["rows"]]
    assert all(part["rows"] and not part["error"] for part in results.values())
    assert all(row.get("right", True) and row.get("resumed run equal", True) for row in rows)
    notes = {row["note"] for row in rows if "note" in row}
    assert all("peak" in note or "published" in note for note in notes), notes
    table = (tmp_path / "out" / "gpu.md").read_text()
    assert all(f"## {name} (" in table for name in results)
    assert "clips/s" in table


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("raise", "ValueError: no such thing"),
        ("hang", "not done after"),
        ("kill", "signal or code"),
    ],
)
def test_a_part_that_fails_keeps_its_rows_and_is_reported(
    script, monkeypatch, tmp_path, how, expected
):
    def part(context):
        yield {"what": "before", "value": 1.5}
        if how == "raise":
            raise ValueError("no such thing\nmore")
        if how == "hang":
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(script, "part_of", lambda name: part)
    options = Namespace(out=tmp_path, device="cpu", tiny=True)
    found = script.timed_part("any", options, seconds=5 if how == "hang" else 60)
    assert expected in found["error"]
    assert found["rows"] == [{"what": "before", "value": 1.5}]
    assert "| before | 1.5 |" in script.as_markdown({"any": found})
    assert f"**{found['error']}**" in script.as_markdown({"any": found})


def test_where_a_fork_cannot_use_the_gpu_a_fresh_process_does(script, monkeypatch, tmp_path):
    def part(context):
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
        yield

    monkeypatch.setattr(script, "part_of", lambda name: part)
    monkeypatch.syspath_prepend(str(HERE.parent))
    options = Namespace(out=tmp_path, device="cpu", tiny=True)
    found = script.timed_part("machine", options, seconds=120)
    assert not found["error"]
    assert found["rows"][0]["what"] == "device"


def test_missing_packages_are_named(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "NEEDED", {"no_such_module": "no-such-package", "json": "json"})
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--tiny"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit, match="error: without no-such-package\n"):
        script.main()


def test_without_a_gpu_words_say_so(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--parts", "machine", "encoding", "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "no GPU here: `--device cpu --tiny` tries the script without" in done.stdout
    assert list(json.loads(Path(tmp_path / "out" / "gpu.json").read_text())) == ["machine"]
