"""Pages in a real browser: they open from disk, and do what their controls say."""

import shutil
from pathlib import Path

import pytest
from conftest import succeed
from helpers.browser import launched, opened, violations
from helpers.made_runs import make_run, make_samples

pytestmark = pytest.mark.browser
WIDTHS = (1400, 800, 390)
PLAYS = "video => !video.paused && video.currentTime > 0.05"
SCALE = """number => {
    const { min, max } = Charts.charts[number].plot.scales.x;
    return [min, max];
}"""


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Pages about two runs, about a folder of clips, and about two of those."""
    root = tmp_path_factory.mktemp("pages")
    runs = [make_run(root / "runs" / name, train__lr=lr) for name, lr in (("a", 1e-3), ("b", 2e-3))]
    samples = make_samples(root / "one", 60)
    make_samples(root / "two", 5)
    (samples / "00001-seed3-label1.mp4").unlink()
    strange = samples / '<script>alert("1")<b>.mp4'
    shutil.copy(samples / "00000-seed3-label0.mp4", strange)
    with (samples / "samples.jsonl").open("a") as file:
        file.write('{"file": "<script>alert(\\"1\\")<b>.mp4", "name": "strange", "seed": 9}\n')
    succeed("report", *runs, f"--out={root / 'runs.html'}")
    succeed("report", samples, f"--out={root / 'one.html'}")
    succeed("report", root / "one", root / "two", f"--out={root / 'two.html'}")
    return {name: root / f"{name}.html" for name in ("runs", "one", "two")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["runs", "one", "two"])
def test_everybody_can_read_a_page(browser, pages, name, scheme):
    """axe-core finds nothing serious, contrast included, and nothing is cut off on any screen."""
    with opened(browser, pages[name], scheme=scheme) as found:
        assert violations(found.page) == []
        for width in WIDTHS:
            found.page.set_viewport_size({"width": width, "height": 900})
            assert found.page.evaluate("document.documentElement.scrollWidth") <= width


def test_previews_play_and_follow_the_slider(browser, pages):
    with opened(browser, pages["runs"]) as found:
        page = found.page
        video = page.locator(".stage video").first
        page.wait_for_function(PLAYS, arg=video.element_handle())
        assert page.locator("#step-shown").inner_text() == "step 40"
        last = page.locator(".stage img").first.get_attribute("src")
        page.locator("#step").focus()
        page.keyboard.press("Home")
        assert page.locator("#step-shown").inner_text() == "step 10"
        assert page.locator(".stage img").first.get_attribute("src") != last
        page.wait_for_function("video => video.dataset.step === '10'", arg=video.element_handle())
        page.wait_for_function(PLAYS, arg=video.element_handle())
        assert page.locator("#stages figcaption").first.inner_text() == "a, step 10"


def test_nothing_plays_by_itself_where_motion_is_not_wanted(browser, pages):
    with opened(browser, pages["runs"], reduced_motion="reduce") as found:
        found.page.wait_for_selector(".stage.playing")
        assert found.page.locator(".stage video").first.evaluate("video => video.paused")


def test_runs_are_hidden_and_shown(browser, pages):
    with opened(browser, pages["runs"]) as found:
        page = found.page
        key = page.locator(".chart .key").first
        page.wait_for_function("document.querySelector('.chart .key').children.length === 2")
        page.get_by_label("b", exact=True).uncheck()
        assert key.inner_text().split() == ["a"]
        page.get_by_label("b", exact=True).check()
        assert key.inner_text().split() == ["a", "b"]


def test_charts_zoom_by_mouse_and_keyboard_and_take_other_axes(browser, pages):
    with opened(browser, pages["runs"]) as found:
        page = found.page
        page.wait_for_selector(".chart canvas")
        assert page.evaluate(SCALE, 0) == [1, 40]
        page.locator(".chart .u-over").first.scroll_into_view_if_needed()
        box = page.locator(".chart .u-over").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60, steps=4)
        page.mouse.up()
        low, high = page.evaluate(SCALE, 0)
        assert low == pytest.approx(10.75, abs=0.5)
        assert high == pytest.approx(30.25, abs=0.5)
        assert page.evaluate(SCALE, 1) == [low, high]  # all charts follow
        page.locator(".chart .plot").first.focus()
        page.keyboard.press("+")
        closer = page.evaluate(SCALE, 0)
        assert closer[1] - closer[0] == pytest.approx((high - low) / 2)
        page.keyboard.press("0")
        assert page.evaluate(SCALE, 0) == [1, 40]
        page.locator("#axis").select_option("clips")
        assert page.evaluate(SCALE, 0) == [4, 160]  # 4 clips a step
        page.get_by_label("log axis of Training loss", exact=True).click()
        assert page.evaluate("Charts.charts[0].plot.scales.y.distr") == 3


def test_settings_are_found(browser, pages):
    with opened(browser, pages["runs"]) as found:
        page = found.page
        shown = page.locator("table.settings tbody tr:visible")
        keys = shown.locator("td:first-child").all_inner_texts()
        assert "train.lr" in keys
        assert "diffusion.num_timesteps" not in keys  # as in the preset and the paper
        page.locator("#find-setting").fill("num_timesteps")
        assert set(shown.locator("td:first-child").all_inner_texts()) == {"diffusion.num_timesteps"}


def test_a_gallery_pages_searches_and_filters(browser, pages):
    with opened(browser, pages["one"]) as found:
        page, where = found.page, found.page.locator("#where")
        found.problems.clear()  # the deleted file is none: it is not asked for
        assert where.inner_text() == "1 to 48 of 61"
        page.wait_for_function(PLAYS, arg=page.locator("#clips video").first.element_handle())
        page.locator("#next").click()
        assert where.inner_text() == "49 to 61 of 61"
        page.locator("#find").fill("SEED 3 label2")
        assert where.inner_text() == "1 to 20 of 20"
        page.locator("#find").fill("")
        page.locator("#label").select_option(index=1)
        assert where.inner_text() == "1 to 20 of 20"
        page.locator("#find").fill("nothing like it")
        assert where.inner_text() == "nothing found"


def test_deleted_clips_and_names_with_markup(browser, pages):
    with opened(browser, pages["one"]) as found:
        page = found.page
        page.locator("#find").fill("00001")
        assert page.locator("#clips .words").inner_text() == "this file is not there any more"
        page.locator("#find").fill("alert(")
        assert '<script>alert("1")<b>.mp4' in page.locator("#clips figcaption").inner_text()
        page.wait_for_function(PLAYS, arg=page.locator("#clips video").first.element_handle())


def test_a_clip_is_enlarged_and_closed_by_keyboard(browser, pages):
    with opened(browser, pages["one"]) as found:
        page = found.page
        page.locator("#clips button").first.focus()
        page.keyboard.press("Enter")
        assert page.locator("#large").is_visible()
        assert "00000-seed3-label0.mp4" in page.locator("#large-words").inner_text()
        page.keyboard.press("Escape")
        assert not page.locator("#large").is_visible()


def test_two_folders_are_compared_at_the_same_seeds(browser, pages):
    with opened(browser, pages["two"]) as found:
        page = found.page
        assert page.locator("#where").inner_text() == "1 to 5 of 5"
        assert page.locator("#clips figure").first.locator("video").count() == 2
        page.locator("#view").select_option("wipe")
        over = page.locator("#clips .wiped .over").first
        page.locator("#wipe").fill("25")
        assert "75%" in over.evaluate("element => getComputedStyle(element).clipPath")
        page.locator("#set").select_option(label="only in A (56)")
        assert page.locator("#where").inner_text() == "1 to 48 of 56"
