"""Ways to damage a file: its bytes, its text, or a value in it. At random."""

import json
import random
from collections.abc import Callable
from typing import Any

Damaged = tuple[str, bytes]
"""What was done, in a few words, and the bytes."""

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEADER_BYTES = 512

_CHUNK_MARKS = (
    *(
        b"OggS",
        b"moof",
        b"mdat",
        b"trak",
        b"\x1f\x43\xb6\x75",
        b"\xa3",
        b"00dc",
        b"01wb",
        b"\x47\x01",
    ),
    *(
        b"\0\0\1",
        b"\0\0\0\1",
        b"!\xf9\x04",
        b"fdAT",
        b"fcTL",
        b"ANMF",
        b"PK\1\2",
        b"PK\3\4",
        b"\x82\0",
    ),
)
"""Where packets, pages, boxes, frames or members of common formats begin."""

NESTED: Any = 0
for _ in range(60):
    NESTED = [NESTED]

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 0.5, -0.5, 1e308, float("nan"), float("inf"), 2**31),
    *(2**63, -(2**63), 10**400, "", " ", "nan", "null", "1e4", "-1", "\0", "é\u202e", "\ud83d"),
    *("../..", "/", "/dev/null", "2024-01-01", "x" * 5000, [], {}, [[]], {"a": 1}, [1, 2, 3]),
    NESTED,
)


def damage_bytes(content: bytes, chance: random.Random) -> Damaged:
    """Damage of any kind of file."""
    kinds = list(_BYTES)
    kind = chance.choices(kinds, [weight for _, weight in _BYTES.values()])[0]
    changed = _BYTES[kind][0](bytearray(content), chance) if content else bytearray(b"x")
    return kind, bytes(changed)


def _span(size: int, chance: random.Random) -> slice:
    """A stretch of a few bytes up to a quarter of the file."""
    longest = max(1, size // 4)
    width = min(longest, round(2 ** chance.uniform(0, longest.bit_length())))
    start = chance.randrange(size - width + 1)
    return slice(start, start + width)


def _cut(content: bytearray, chance: random.Random) -> bytearray:
    size = len(content)
    near_end = chance.random() < 0.3
    return content[: max(0, size - chance.randrange(1, 65)) if near_end else chance.randrange(size)]


def _flip(content: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice((1, 1, 1, 2, 8, 64))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return content


def _zero(content: bytearray, chance: random.Random) -> bytearray:
    span = _span(len(content), chance)
    content[span] = bytes(span.stop - span.start)
    return content


def _noise(content: bytearray, chance: random.Random) -> bytearray:
    span = _span(len(content), chance)
    content[span] = chance.randbytes(span.stop - span.start)
    return content


def _repeat(content: bytearray, chance: random.Random) -> bytearray:
    span = _span(len(content), chance)
    content[span.stop : span.stop] = content[span]
    return content


def _drop(content: bytearray, chance: random.Random) -> bytearray:
    del content[_span(len(content), chance)]
    return content


def _swap(content: bytearray, chance: random.Random) -> bytearray:
    size = len(content)
    width = chance.randrange(1, max(2, size // 3))
    first = chance.randrange(max(1, size - 2 * width))
    second = chance.randrange(first + width, max(first + width + 1, size - width + 1))
    one, two = content[first : first + width], content[second : second + width]
    content[second : second + width], content[first : first + width] = one, two
    return content


def _chunk(content: bytearray, chance: random.Random) -> bytearray:
    """Whole packets, pages, boxes or members change places, are missing or appear twice."""
    present = [mark for mark in _CHUNK_MARKS if content.count(mark) > 2]
    if not present:
        return _swap(content, chance)
    mark = chance.choice(present)
    first, *rest = bytes(content).split(mark)
    chunks = [mark + chunk for chunk in rest]
    number, other = (chance.randrange(len(chunks)) for _ in range(2))
    kind = chance.randrange(3)
    if kind == 0:
        chunks[number], chunks[other] = chunks[other], chunks[number]
    elif kind == 1:
        chunks.insert(other, chunks[number])
    else:
        del chunks[number]
    return bytearray(first + b"".join(chunks))


def _header(content: bytearray, chance: random.Random) -> bytearray:
    content[chance.randrange(min(len(content), _HEADER_BYTES))] = chance.randrange(256)
    return content


def _field(content: bytearray, chance: random.Random) -> bytearray:
    """A number of 1 to 8 bytes becomes an extreme one."""
    width, order = chance.choice((1, 2, 4, 8)), chance.choice(("big", "little"))
    limit = len(content) if chance.random() < 0.4 else min(len(content), _HEADER_BYTES)
    start = chance.randrange(limit)
    number = chance.choice(_NUMBERS) % (1 << 8 * width)
    content[start : start + width] = number.to_bytes(width, order)
    return content


def _append(content: bytearray, chance: random.Random) -> bytearray:
    length = chance.choice((1, 4, 100, 5000))
    return content + (bytes(length) if chance.random() < 0.5 else chance.randbytes(length))


def _empty(content: bytearray, chance: random.Random) -> bytearray:
    return bytearray()


_BYTES: dict[str, tuple[Callable[[bytearray, random.Random], bytearray], int]] = {
    "cut off": (_cut, 25),
    "bits flipped": (_flip, 25),
    "bytes zeroed": (_zero, 8),
    "bytes of noise": (_noise, 8),
    "bytes repeated": (_repeat, 6),
    "bytes missing": (_drop, 6),
    "bytes swapped": (_swap, 5),
    "chunks moved": (_chunk, 8),
    "header changed": (_header, 8),
    "number changed": (_field, 10),
    "bytes appended": (_append, 4),
    "emptied": (_empty, 1),
}


def damage_text(text: str, chance: random.Random) -> Damaged:
    """Damage of text: lines, characters and encodings; or of its bytes."""
    if chance.random() < 0.35:
        return damage_bytes(text.encode(errors="surrogatepass"), chance)
    lines = text.splitlines(keepends=True) or ["\n"]
    number = chance.randrange(len(lines))
    kind = chance.choice(_LINES)
    line = lines[number]
    if kind == "line missing":
        del lines[number]
    elif kind == "line twice":
        lines.insert(number, line)
    elif kind == "lines swapped":
        other = chance.randrange(len(lines))
        lines[number], lines[other] = lines[other], line
    elif kind == "line indented":
        lines[number] = chance.choice((" ", "\t", "    ")) + line
    elif kind == "word changed":
        words = line.split(" ")
        words[chance.randrange(len(words))] = str(chance.choice(ODD_VALUES))
        lines[number] = " ".join(words).rstrip("\n") + "\n"
    elif kind == "character inserted":
        place = chance.randrange(len(line) + 1)
        lines[number] = line[:place] + chance.choice(_CHARACTERS) + line[place:]
    else:
        encoding = chance.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1", "cp1251", "utf-7"))
        return f"{kind} {encoding}", text.encode(encoding, "replace")
    return kind, "".join(lines).encode("utf-8", "surrogatepass")


_LINES = (
    *("line missing", "line twice", "lines swapped", "line indented", "word changed"),
    *("word changed", "character inserted", "character inserted", "encoded as"),
)
_CHARACTERS = (
    *(
        "\0",
        "\t",
        "\r",
        "\n",
        "\x1b[31m",
        "\u2028",
        "\ufeff",
        "\ud800",
        "'",
        '"',
        "{",
        "}",
        "[",
        "]",
    ),
    *(
        "&a ",
        "*a ",
        "<<: ",
        "!!python/object:os.system ",
        "|",
        ">",
        "%",
        "@",
        "`",
        ":",
        ",",
        "-",
        "#",
    ),
)


def damage_value(tree: Any, chance: random.Random) -> str:
    """Change one value or key of nested dicts and lists, in place; what was done."""
    places = list(_places(tree))
    if not places:
        return "unchanged"
    holder, key = chance.choice(places)
    kind = chance.choice(("changed", "changed", "changed", "changed", "missing", "renamed"))
    if kind == "changed":
        holder[key] = chance.choice(ODD_VALUES)
        return f"{key} is {str(holder[key])[:20]!r}"
    value = holder.pop(key)
    if kind == "renamed" and isinstance(holder, dict):
        holder[chance.choice(("", "x", "é", str(key).upper(), f"{key}s", 1, None))] = value
    return f"{key} is {kind}"


def _places(tree: Any) -> "list[tuple[Any, Any]]":
    found: list[tuple[Any, Any]] = []
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if _is_list(tree) else ()
    for key in keys:
        found.append((tree, key))
        found += _places(tree[key])
    return found


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and value is not NESTED


def damage_json_lines(text: str, chance: random.Random) -> Damaged:
    """Damage of a file of JSON, or of a line of one of JSON lines."""
    if chance.random() < 0.4:
        return damage_text(text, chance)
    try:
        rows, is_lines = [json.loads(text)], False
    except ValueError:
        rows, is_lines = [json.loads(line) for line in text.splitlines()], True
    number = chance.randrange(len(rows))
    if isinstance(rows[number], (dict, list)) and chance.random() < 0.9:
        what = damage_value(rows[number], chance)
    else:
        rows[number], what = chance.choice(ODD_VALUES), "a line of something else"
    words = [json.dumps(row) for row in rows]
    return what, ("\n".join(words) + "\n" if is_lines else words[0]).encode()
