"""Downloads of published weights: how far they are is shown."""

import io
from dataclasses import replace

from latte_cli.runtime.weight_files import published
from latte_cli.runtime.weight_files.published import WeightFile, WeightFolders


def test_a_download_tells_how_far_it_is(tmp_path, monkeypatch):
    content = bytes(3_000_000)
    monkeypatch.setattr(published, "urlopen", lambda url, timeout: io.BytesIO(content))
    monkeypatch.setattr(published, "_SAY_EVERY_S", 0.0)
    monkeypatch.setattr(published, "_PART_BYTES", 1_000_000)
    said: list[str] = []
    file = WeightFile(("a.bin",), "https://example.org/a.bin", size=len(content))
    folders = replace(WeightFolders.standard(None, said.append), cache=tmp_path, download=True)
    assert folders.fetch(file).read_bytes() == content
    assert [line.partition(" of ")[0] for line in said[1:]] == [
        f"downloaded {number} MB" for number in (1, 2, 3)
    ]
