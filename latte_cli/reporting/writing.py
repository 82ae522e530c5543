"""Pages from templates: everything that they need is inside, and nothing is fetched."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from latte_cli import __version__
from latte_cli.runtime.errors import ExistsError
from latte_cli.runtime.files import write_text

REPORT = "report.html"
"""The page in a run's folder, or in a folder of clips."""

_PAGE = Path(__file__).parent / "page"
_MADE_BY = '<meta name="generator" content="latte report'
_DATA = '<script type="application/json" id="data">'
_START_BYTES = 2000  # of a page, in which it says what made it


def write_page(template: str, path: Path, variables: Mapping[str, Any]) -> None:
    """Render a template and write the page, whole or not at all.

    Args:
        template: its name.
        path: of the page.
        variables: of the template; `data` is what its script reads.
    """
    # Jinja takes a while to import, and few commands need it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def inlined(name: str) -> Markup:
        """A file of this package, as it is."""
        return Markup((_PAGE / name).read_text(encoding="utf-8"))

    text = environment.get_template(template).render(
        **variables,
        inlined=inlined,
        version=__version__,
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
    )
    # A name may hold bytes that are no text, which Python keeps as halves of surrogate pairs.
    write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def data_of_page(page: Path) -> Any:
    """What the script of a page reads.

    Raises:
        OSError: if the page cannot be read.
        ValueError: if it is none.
    """
    _, _, rest = page.read_text(encoding="utf-8").partition(_DATA)
    return json.loads(rest.partition("</script>")[0])


def check_replaceable(path: Path, *, overwrite: bool) -> None:
    """Check that a page would replace nothing but an earlier page.

    Raises:
        ExistsError: if `path` is something else, and may not be replaced.
    """
    if path.is_dir():
        raise ExistsError(f"{path} is a folder, not a page", path, replaceable=False)
    if path.is_file() and not overwrite:
        with path.open(encoding="utf-8", errors="replace") as file:
            if _MADE_BY not in file.read(_START_BYTES):
                raise ExistsError(f"{path} holds something else than a report", path)
