"""`latte report` about runs: what the page holds, and what it does with damaged files."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import World, fail, succeed, tiny

from latte_cli.runtime.files import json_lines


def data_of(page: Path) -> dict:
    """What the page's script reads."""
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S
    )
    assert found is not None
    return json.loads(found[1])


@pytest.fixture
def run(world: World, tmp_path: Path) -> Path:
    """A run to change: six logged steps, and previews."""
    folder = tmp_path / "runs" / "tried"
    # Other tests sample from the small world's run, which adds to its page.
    shutil.copytree(world.run, folder, ignore=shutil.ignore_patterns("added.jsonl", "report.html"))
    return folder


def log(run: Path, count: int, **values: object) -> None:
    rows = [{"step": n, "loss": 1 / n, "clips_per_s": 8.0, **values} for n in range(1, count + 1)]
    (run / "metrics.jsonl").write_text(json_lines(rows))


def test_the_page_holds_every_logged_number(run):
    result = json.loads(succeed("--json", "report", run).stdout)
    assert Path(result["out"]) == run / "report.html"
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (shown,) = data_of(run / "report.html")["runs"]
    for key in logged[0].keys() - {"step"}:
        curve = shown["curves"][key]
        assert curve["x"] == [row["step"] for row in logged if row[key] is not None]
        known = [row[key] for row in logged if row[key] is not None]
        assert curve["y"] == pytest.approx(known, rel=1e-4)


def test_runs_are_found_by_name_and_laid_over_each_other(run):
    shutil.copytree(run, run.parent / "other")
    succeed("report", "tried", "other")
    page = run.parent / "tried-against-other.html"
    assert [each["name"] for each in data_of(page)["runs"]] == ["tried", "other"]


def test_a_half_written_line_is_left_out(run):
    log(run, 3)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    succeed("report", run)
    (shown,) = data_of(run / "report.html")["runs"]
    assert shown["curves"]["loss"]["x"] == [1, 2, 3]


def test_a_run_without_metrics_still_has_a_page(run):
    (run / "metrics.jsonl").unlink()
    shutil.rmtree(run / "previews")
    result = succeed("report", run)
    assert "No step is logged yet" in result.stderr
    assert "No step is logged yet" in (run / "report.html").read_text()


def test_damaged_settings_are_a_note(run):
    (run / "config.yaml").write_text("data: [")
    assert "settings cannot be shown" in succeed("report", run).stderr


def test_names_with_markup_are_text(run):
    named = run.parent / '<script>alert("1")<'
    run.rename(named)
    log(named, 3, **{"</script><b>": 1.0})
    succeed("report", named)
    text = (named / "report.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;" in text
    assert "</script><b>" not in text
    (shown,) = data_of(named / "report.html")["runs"]
    assert "</script><b>" in shown["curves"]


def test_nothing_is_loaded_from_elsewhere(run):
    succeed("report", run)
    text = re.sub(r"<script>.*?</script>", "", (run / "report.html").read_text(), flags=re.S)
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    assert "default-src 'none'" in text


def test_another_file_is_not_replaced(run, tmp_path):
    (tmp_path / "notes.html").write_text("mine")
    said = fail("report", run, "--out=notes.html")
    assert "something else than a report" in said
    succeed("report", run, "--out=notes.html", "--overwrite")
    succeed("report", run, "--out=notes.html")


def test_what_is_no_run_is_said(run):
    said = fail("report", "tired")
    assert "neither a run" in said
    assert "tried" in said
    assert "same name" in fail("report", run, run)


def test_a_large_run_is_thinned(run):
    """The lines of 100 000 steps fit into a fraction of a page's 8 MB."""
    log(run, 100_000)
    succeed("report", run)
    (shown,) = data_of(run / "report.html")["runs"]
    assert len(shown["curves"]["loss"]["x"]) <= 1200
    assert max(shown["curves"]["loss"]["hi"]) == 1.0
    assert (run / "report.html").stat().st_size < 1_000_000


def test_previews_beyond_the_limit_are_links(world, tmp_path):
    values = {"train__preview_every": 2}
    latents = f"--latents-root={world.root / 'latents'}"
    succeed("train", "--preset=shapes", *tiny(**values), latents)
    succeed("report", "shapes", "--embed=0")
    (shown,) = data_of(Path("runs/shapes/report.html"))["runs"]
    assert [each["step"] for each in shown["previews"]] == [2, 4, 6]
    for each in shown["previews"]:
        assert each["src"] == f"previews/step-{each['step']:08d}.mp4"
        assert each["poster"].startswith("data:image/jpeg")
    succeed("report", "shapes")
    (shown,) = data_of(Path("runs/shapes/report.html"))["runs"]
    assert all(each["src"].startswith("data:video/mp4") for each in shown["previews"])
