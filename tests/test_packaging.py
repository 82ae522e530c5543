"""The wheel, installed in an environment of its own, has what users need."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from conftest import HERE

from latte_cli import guides
from latte_cli.config import preset_names

ROOT = HERE.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    args = ["-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run([sys.executable, *args], cwd=ROOT, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_presets_weights_and_guides_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    presets = {name for name in names if name.startswith("latte_cli/presets/")}
    assert presets == {f"latte_cli/presets/{name}.yaml" for name in preset_names()}
    assert "latte_cli/assets/autoencoder/diffusion_pytorch_model.safetensors" in names
    for network in ("shapes-fast", "shapes-map"):
        assert f"latte_cli/assets/{network}/ema.safetensors" in names
    page = {"run.html.j2", "gallery.html.j2", "style.css", "run.js", "uplot/LICENSE"}
    assert {f"latte_cli/reporting/page/{name}" for name in page} <= set(names)
    pages = [f"latte_cli/guides/{topic}.md" for topic in guides.TOPICS]
    assert not {*pages, f"latte_cli/guides/{guides.SCRIPT.name}"} - set(names)
    assert not [name for name in names if name.startswith("tests")]
    assert wheel.stat().st_size < 20_000_000


def test_an_installed_wheel_lists_its_presets(wheel, tmp_path):
    """In a fresh environment that borrows the dependencies of this one: no network is needed."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    args = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([python, *args], check=True)
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [tmp_path / "env" / "bin" / "latte", "presets"]
    shown = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert all(name in shown.stdout for name in preset_names())
    code = "import latte_cli; print(latte_cli.__file__)"
    where = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert str(packages) in where.stdout


def test_ci_runs_what_the_readme_says():
    """Both one-line commands stand alone in their blocks; CI takes the second from there."""
    text = (ROOT / "README.md").read_text()
    part = text.split("## Quick start")[1].split("\n## ")[0]
    commands = [block.strip() for block in re.findall(r"```bash\n(.*?)```", part, re.S)]
    demo, test = commands[:2]
    assert "\n" not in demo
    assert "\n" not in test
    assert "latte demo" in demo
    assert "pytest" in test
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_a_plain_install_has_what_reads_a_sentencepiece_vocabulary():
    """transformers imports protobuf for it, and does not depend on it."""
    plain = {need.split(";")[0] for need in requires("latte-cli") or () if "extra ==" not in need}
    assert {"protobuf", "sentencepiece"} <= {re.split(r"[<>=!~\[ ]", need)[0] for need in plain}
