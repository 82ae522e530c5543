"""All messages of the project's errors, read from its code: where, what happened, what to do."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import latte_cli
from latte_cli.runtime import errors

PACKAGE = Path(latte_cli.__file__).parent
KINDS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.LatteError)
}
OWN_HINT = {"ExistsError"}  # makes its hint itself
FOR_CONFIG = {"ValueError", "Mismatch"}  # in the schema, where they become ConfigError


@dataclass(frozen=True)
class Message:
    """An error in the code.

    Attributes:
        place: file and line.
        kind: class of the error.
        message: with `{…}` for what is filled in.
        hint: the same; None if there is none.
        command: whether a command follows the hint.
    """

    place: str
    kind: str
    message: str
    hint: str | None
    command: bool


def all_messages() -> list[Message]:
    """Every construction of one of the project's errors, in the order of the files."""
    found: list[Message] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "errors.py":
            found += _messages(path)
    return found


def _messages(path: Path) -> Iterator[Message]:
    in_schema = path.parent.name == "config"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        kind = node.func.id if isinstance(node.func, ast.Name) else ""
        if kind not in KINDS and not (in_schema and kind in FOR_CONFIG):
            continue
        if not node.args:  # a class in another role
            continue
        words = {keyword.arg: keyword.value for keyword in node.keywords}
        hint = words.get("hint", node.args[1] if len(node.args) > 1 else None)
        place = f"{path.relative_to(PACKAGE.parent)}:{node.lineno}"
        if kind in OWN_HINT:
            shown: str | None = "(its own: --overwrite, or a free name)"
        elif kind == "ValueError":
            shown = "(`latte presets NAME` shows every value)"
        else:
            shown = None if hint is None else text_of(hint)
        yield Message(place, kind, text_of(node.args[0]), shown, "command" in words)


def text_of(node: ast.expr) -> str:
    """The text that an expression makes, with `{…}` for what is not known before."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part) for part in parts)
        case ast.FormattedValue(value=value):
            return f"{{{ast.unparse(value)}}}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return text_of(left) + text_of(right)
        case ast.IfExp(body=body, orelse=other):
            return f"{text_of(body)} | {text_of(other)}"
        case _:
            return f"{{{ast.unparse(node)}}}"
