"""The script of the guide from-python runs, as a script and cell by cell in a notebook."""

import re

import pytest

from latte_cli.guides import SCRIPT

nbclient = pytest.importorskip("nbclient", reason="pip install 'latte-cli[notebook]'")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

_CELL = re.compile(r"^# %%(?: \[(markdown)\])?\n", re.MULTILINE)


def cells(script: str):
    """The cells of a script with `# %%` between them: kind and text."""
    first, *rest = _CELL.split(script)
    yield "code", first
    for kind, text in zip(rest[::2], rest[1::2], strict=True):
        yield (kind, re.sub("^# ?", "", text, flags=re.MULTILINE)) if kind else ("code", text)


def test_the_script_runs_cell_by_cell_in_a_notebook(tmp_path):
    notebook = nbformat.v4.new_notebook()
    for kind, text in cells(SCRIPT.read_text(encoding="utf-8")):
        make = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
        notebook.cells.append(make(text.strip()))
    client = nbclient.NotebookClient(
        notebook, timeout=600, startup_timeout=300, resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    printed = ["".join(o.text for o in cell.outputs if o.get("name") == "stdout") for cell in code]
    assert "(4, 8, 64, 64, 3) uint8" in printed[2]
    assert "label6-270deg.mp4 2" in printed[4]
    assert float(printed[-1].splitlines()[-1]) >= 0.5, "the shipped network moves upwards"
    played = [
        output.data["text/html"]
        for cell in (code[3], code[4])
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    assert len(played) == 2
    assert all(html.startswith("<video src=") for html in played)
