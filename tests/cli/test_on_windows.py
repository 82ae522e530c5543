"""All modules, and the main commands, with the gaps that Python has on Windows (emulated)."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from conftest import HERE, tiny

import latte_cli

EMULATION = HERE / "helpers" / "windows"
EVERY_MODULE = """
import importlib, pkgutil, sys
import latte_cli
for module in pkgutil.walk_packages(latte_cli.__path__, "latte_cli."):
    # A script's name has a hyphen. Triton is for Linux.
    skipped = module.name.endswith("__main__") or "-" in module.name or ".triton_" in module.name
    if not skipped:
        importlib.import_module(module.name)
"""
COMMANDS = """
import json, sys
from latte_cli.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["latte", *words]
    try:
        main()
    except SystemExit as end:
        assert end.code in (0, None), (words, end.code)
"""
CLAIM = """
import sys
from pathlib import Path
from latte_cli.runtime.claims import claimed
with claimed(Path(sys.argv[1])) as is_ours:
    print(is_ours)
"""


def run(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a script under the emulation, which its worker processes inherit."""
    root = Path(latte_cli.__file__).parents[1]
    paths = (str(EMULATION), str(root), os.environ.get("PYTHONPATH", ""))
    changes = {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONWARNDEFAULTENCODING": "1",
        "PYTHONIOENCODING": "cp1252",
    }
    return subprocess.run(
        [sys.executable, "-c", script, *args],
        env={**os.environ, **changes},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def test_the_emulation_has_windows_gaps():
    script = (
        "module = {'__name__': 'latte_cli.x'}\n"
        "exec('import os, signal, sys', module)\n"
        "assert module['os'].name == 'nt' and module['sys'].platform == 'win32'\n"
        "assert not hasattr(module['signal'], 'SIGUSR1') and not hasattr(module['os'], 'killpg')\n"
        "import os, signal; assert os.name == 'posix' and signal.SIGUSR1"
    )
    assert run(script).returncode == 0


def test_every_module_imports_without_what_windows_lacks():
    ended = run(EVERY_MODULE)
    assert ended.returncode == 0, ended.stderr


def test_a_claim_is_taken_over_from_a_process_that_has_ended_only(tmp_path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    for pid, expected in ((os.getpid(), "False"), (int(ended.stdout), "True")):
        claim = tmp_path / f"{pid}.claim"
        host = f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
        claim.write_text(json.dumps({"host": host, "pid": pid, "token": "theirs"}))
        asked = run(CLAIM, str(claim))
        assert asked.stdout.strip() == expected, asked.stderr


def test_prepare_encode_train_and_sample_run_without_what_windows_lacks(tmp_path):
    folder = tmp_path / "dört"
    roots = [f"--{root}-root={folder / root}" for root in ("data", "latents", "runs")]
    data, latents, runs = roots
    commands = [
        ["prepare", "shapes", "--count=8", "--size=32", "--workers=1", data],
        ["encode-latents", "--preset=shapes", "--size=32", "--workers=1", data, latents],
        ["train", "--preset=shapes", *tiny(train__steps=2, train__save_every=1), *roots],
        ["train", "--preset=shapes", *tiny(train__steps=3, train__keep=1), *roots],
        ["sample", "--preset=shapes", *tiny(), "-n2", runs, f"--out={folder / 'out'}"],
        ["train", "--preset=shapes", *tiny(train__steps=3), "--plan", *roots],
    ]
    ended = run(COMMANDS, json.dumps(commands))
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert len(list((folder / "out").glob("*.mp4"))) == 2
