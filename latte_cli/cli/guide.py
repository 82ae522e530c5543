"""The command that shows guides."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latte_cli import guides
from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary
from latte_cli.cli.options import OUTPUT, option
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

app = typer.Typer()


def _complete(incomplete: str) -> list[str]:
    return [topic for topic in guides.TOPICS if topic.startswith(incomplete)]


@app.command()
def guide(
    topic: Annotated[
        str | None,
        typer.Argument(
            help="Show this page; without one, all topics are listed.",
            autocompletion=_complete,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Copy all pages into this folder, and the script for notebooks.",
            metavar="DIR",
        ),
    ] = None,
) -> None:
    """Show a guide: how to go from videos to numbers, page by page.

    Examples:
      latte guide
      latte guide troubleshooting

    On a terminal a page is laid out for its width; into a file or a pipe it
    goes as Markdown.
    """
    with error_boundary() as console:
        if out is not None:
            if topic is not None:
                raise ConfigError(
                    f"--out copies all guides, and `{topic}` names one of them",
                    hint=f"`latte guide {topic} > {topic}.md` writes that one; or leave it out",
                )
            checks.check_output(out / "page")
            files = guides.copy_pages(out)
            console.result({"out": out, "files": len(files)})
        elif topic is None:
            rows = list(guides.TOPICS.items())
            console.table(("guide", ""), rows, guides.TOPICS)
            console.info("`latte guide TOPIC` shows one.")
        else:
            page = guides.read_page(topic)
            if console.as_json:
                console.table((), (), {"topic": topic, "text": page})
            else:
                from rich.console import Console as RichConsole

                _print(page, RichConsole(highlight=False))


def _print(page: str, out: "RichConsole") -> None:
    """Print Markdown: laid out on a terminal, as it is elsewhere."""
    if not out.is_terminal:
        typer.echo(page, nl=False)
        return
    from rich.markdown import Markdown
    from rich.theme import Theme

    with out.use_theme(Theme({"markdown.code": "cyan"})):  # readable on any background
        out.print(Markdown(guides.for_terminal(page), code_theme="ansi_dark", hyperlinks=False))
