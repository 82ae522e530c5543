"""The pages of `latte guide`: they exist, are short, and all that they name works."""

import ast
import json
import re
from pathlib import Path

import pytest
import typer
from conftest import HERE, fail, succeed
from rich.console import Console as RichConsole
from rich.markdown import Markdown

import latte_cli
from latte_cli import guides
from latte_cli.cli import app
from latte_cli.cli.guide import _print
from latte_cli.config import known_keys, load_config

PACKAGE = Path(latte_cli.__file__).parent
TEXTS = {topic: guides.read_page(topic) for topic in guides.TOPICS}
README_TEXT = (HERE.parent / "README.md").read_text(encoding="utf-8")
SCREEN = (100, 50)  # columns, lines


def test_every_page_has_a_topic():
    assert {path.stem for path in guides.FOLDER.glob("*.md")} == guides.TOPICS.keys()
    assert guides.SCRIPT.is_file()


@pytest.mark.parametrize("topic", guides.TOPICS)
def test_a_page_takes_two_screens_at_most(topic):
    width, height = SCREEN
    console = RichConsole(width=width)
    with console.capture() as shown:
        console.print(Markdown(guides.for_terminal(TEXTS[topic]), hyperlinks=False))
    lines = shown.get().splitlines()
    assert len(lines) <= 2 * height
    assert TEXTS[topic].startswith("# ")


@pytest.mark.parametrize("topic", guides.TOPICS)
def test_lines_of_code_fit_a_screen(topic):
    blocks = re.findall(r"^```\w*\n(.*?)^```", TEXTS[topic], re.MULTILINE | re.DOTALL)
    assert not [line for block in blocks for line in block.splitlines() if len(line) > SCREEN[0]]


def test_guide_lists_the_topics_and_shows_a_page():
    listed = succeed("guide").stdout
    assert all(topic in listed for topic in guides.TOPICS)
    assert succeed("guide", "from-python").stdout == TEXTS["from-python"]
    shown = json.loads(succeed("--json", "guide", "from-python").stdout)
    assert shown == {"topic": "from-python", "text": TEXTS["from-python"]}


def test_a_terminal_gets_a_page_laid_out_with_links_as_commands(capsys):
    _print(TEXTS["own-videos"], RichConsole(force_terminal=True, color_system=None, width=100))
    printed = capsys.readouterr().out
    assert "latte guide sampling" in printed
    assert ".md)" not in printed
    assert "```" not in printed


def test_a_guide_that_does_not_exist():
    assert "did you mean `latte guide from-text`?" in fail("guide", "text")
    assert "did you mean `latte guide from-python`?" in fail("guide", "from-pyhton")
    assert "lists the topics" in fail("guide", "zzz")


def test_pages_are_copied_into_a_folder(tmp_path):
    succeed("guide", "--out", "pages")
    names = {path.name for path in (tmp_path / "pages").iterdir()}
    assert names == {f"{topic}.md" for topic in guides.TOPICS} | {guides.SCRIPT.name}
    assert "--out copies all guides" in fail("guide", "from-python", "--out", "pages")
    (tmp_path / "file").touch()
    fail("guide", "--out", "file/pages")


def test_links_of_readme_and_the_guides_lead_somewhere():
    pages = [HERE.parent / "README.md", HERE / "benchmarks" / "README.md"]
    pages += [HERE.parent / ".github" / "CONTRIBUTING.md", *guides.FOLDER.glob("*.md")]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        targets = re.findall(r"\]\(([^)\s]+)\)", text)
        local = [target for target in targets if not target.startswith("https://")]
        broken = [each for each in local if not (page.parent / each.partition("#")[0]).exists()]
        assert not broken, page
        anchors = [each[1:] for each in local if each.startswith("#")]
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        names = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
        assert names.issuperset(anchors), page


def test_files_that_pages_name_exist():
    pages = [HERE.parent / "README.md", *guides.FOLDER.glob("*.md")]
    for page in pages:
        named = re.findall(r"`((?:tests|presets|\.github|\.ci)/[^`\s*]*)", page.read_text("utf-8"))
        assert not [path for path in named if not (HERE.parent / path).exists()], page


def test_readme_is_a_page():
    """Words as `wc -w` counts them: code and tables included."""
    assert len(README_TEXT.split()) <= 1500
    assert all(f"guides/{topic}.md" in README_TEXT for topic in guides.TOPICS)


def all_messages():
    """Every text in the code, with `…` for the values in it."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                yield "".join(map(str, parts))


def test_messages_of_troubleshooting_are_in_the_code():
    rows = re.findall(r"^\| (`+) ?(.+?) ?\1 \|", TEXTS["troubleshooting"], re.MULTILINE)
    assert len(rows) > 15
    known = "\n".join(all_messages())
    unknown = []
    for _, message in rows:
        pattern = "[^\n]*".join(map(re.escape, re.split("…", message)))
        if not re.search(pattern, known):
            unknown.append(message)
    assert not unknown


def test_python_of_the_page_from_python_runs(tmp_path):
    """In one process, block after block, as a reader would paste them."""
    blocks = re.findall(r"^```python\n(.*?)^```", TEXTS["from-python"], re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "from-python.md", "exec"), names)
    assert names["clips"].shape == (4, 8, 64, 64, 3)
    assert names["run"].step == 20


def test_presets_of_the_pages_are_presets(tmp_path):
    blocks = re.findall(
        r"^```yaml\n# (\w+).yaml.*?\n(.*?)^```", "\n".join(TEXTS.values()), re.M | re.S
    )
    assert blocks
    for name, text in blocks:
        (tmp_path / f"{name}.yaml").write_text(text)
        assert load_config(name) != load_config(None)


def test_options_that_pages_name_exist():
    commands = typer.main.get_command(app).commands.values()
    known = {name for each in commands for param in each.params for name in param.opts}
    known |= {name for each in commands for param in each.params for name in param.secondary_opts}
    known |= {"--json", "--quiet", "--verbose", "--debug", "--help"}
    for page in [README_TEXT, *TEXTS.values()]:
        inline = re.findall(
            r"`(?:latte |)([^`\n]*)`", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S)
        )
        lines = re.findall(r"^\$ (?:\S*/)?latte (.+)$", page, re.MULTILINE)
        named = {word for text in [*inline, *lines] for word in re.findall(r"--[a-z][a-z-]+", text)}
        assert not named - known - {"--signal"}


def test_keys_that_pages_name_exist():
    sections = "data|vae|model|diffusion|train|sample|eval"
    files = (".json", ".csv", ".safetensors", ".yaml", ".py", ".md")
    for topic, page in {"README": README_TEXT, **TEXTS}.items():
        named = set(re.findall(rf"(?<![\w./-])(?:{sections})\.[a-z_]+(?:\.[a-z_]+)*", page))
        named = {key for key in named if not key.endswith(files)}
        known = known_keys()
        wrong = [
            key
            for key in named
            if key not in known and not any(k.startswith(f"{key}.") for k in known)
        ]
        assert not wrong, topic
