"""The caption cleaning of DeepFloyd IF, as the text encoder's prompts were cleaned in training.

PixArt-alpha and Latte-1 were trained on captions cleaned with it twice; the rules and their order
are the published ones, each verified to give the same text as diffusers' `LattePipeline`.
"""

import html
import re
from difflib import SequenceMatcher
from urllib.parse import unquote_plus

_DOMAIN = r"[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b\/?(?!@)"
_ADDRESS = r"\b((?:{}:(?:\/{{1,3}}|[a-zA-Z0-9%])|{}))"
_DASHES = (
    r"\u002D\u058A\u05BE\u1400\u1806\u2010-\u2015\u2E17\u2E1A\u2E3A\u2E3B\u2E40\u301C\u3030\u30A0"
    r"\uFE31\uFE32\uFE58\uFE63\uFF0D"
)
_FILES = "png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4"

_Rule = tuple[re.Pattern[str], str]


def _rules(*rules: tuple[str, str]) -> list[_Rule]:
    return [(re.compile(pattern), replacement) for pattern, replacement in rules]


_BEFORE_MARKUP = _rules(
    ("<person>", "person"),
    (_ADDRESS.format("https?", _DOMAIN), ""),
    (_ADDRESS.format("www", _DOMAIN), ""),
)
_AFTER_MARKUP = _rules(
    (r"@[\w\d]+\b", ""),  # account names
    (r"[\u31c0-\u31ef]+", ""),  # strokes, symbols and ideographs of Chinese, Japanese, Korean
    (r"[\u31f0-\u31ff]+", ""),
    (r"[\u3200-\u4dbf]+", ""),
    (r"[\u4dc0-\u4dff]+", ""),
    (r"[\u4e00-\u9fff]+", ""),
    (f"[{_DASHES}]+", "-"),
    ("[`\u00b4\u00ab\u00bb\u201c\u201d\u00a8]", '"'),
    ("[\u2018\u2019]", "'"),
    (r"&quot;?", ""),
    (r"&amp", ""),
    (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", " "),  # IP addresses
    (r"\d:\d\d\s+$", ""),  # article numbers
    (r"\\n", " "),
    (r"#\d{1,3}\b", ""),
    (r"#\d{5,}\b", ""),
    (r"\b\d{6,}\b", ""),
    (rf"[\S]+\.(?:{_FILES})", ""),
    (r"[\"\']{2,}", '"'),
    (r"[\.]{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~\)\(\]\[\}\{\|\\/\*]+", " "),
    (r"\s+\.\s+", " "),
)
_AFTER_DASHES = _rules(
    (r"\b[a-zA-Z]{1,3}\d{3,15}\b", ""),  # article codes
    (r"\b[a-zA-Z]+\d+[a-zA-Z]+\b", ""),
    (r"\b\d+[a-zA-Z]+\d+\b", ""),
    (r"(worldwide\s+)?(free\s+)?shipping", ""),  # phrases of shops
    (r"(free\s)?download(\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b(?:{_FILES})(\simage[s]?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (r"\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b", " "),
    ("\\b\\d+\\.?\\d*[x\u0445\u00d7]\\d+\\.?\\d*\\b", ""),  # sizes: x, its Cyrillic twin, times
    (r"\b\s+\:\s+", ": "),
    (r"(\D[,\./])\b", r"\1 "),
    (r"\s+", " "),
    (r"^[\"\']([\w\W]+)[\"\']$", r"\1"),
    (r"^[\'\_,\-\:;]", ""),
    (r"[\'\_,\-\:\-\+]$", ""),
    (r"^\.\S+$", ""),
)
_SEPARATORS = re.compile(r"[-_]")
# An ideograph is a word of its own; underscores separate words.
_WORD = re.compile(r"[\u31c0-\u9fff]|[^\W_\u31c0-\u9fff]+")
_MAX_SEPARATORS = 3  # more separate the words of a caption, as in this-is-my-cute-cat


def clean_caption(caption: str) -> str:
    """A caption as the text encoder of the published models got it in training."""
    return _clean_once(_clean_once(caption))


def removed_words(caption: str) -> list[str]:
    """What cleaning takes from a caption: its words and parts of words, neighbors together.

    Punctuation, markup and capital letters do not count.
    """
    text = html.unescape(unquote_plus(caption)).lower()
    before = list(_WORD.finditer(text))
    after = [word[0] for word in _WORD.finditer(clean_caption(caption))]
    matcher = SequenceMatcher(None, [word[0] for word in before], after, autojunk=False)
    runs = [(a, b) for kind, a, b, _, _ in matcher.get_opcodes() if kind in ("delete", "replace")]
    return [text[before[a].start() : before[b - 1].end()] for a, b in runs]


def has_words(caption: str) -> bool:
    """Whether a caption has any letter or digit."""
    return _WORD.search(caption) is not None


def _clean_once(caption: str) -> str:
    import ftfy
    from bs4 import BeautifulSoup

    caption = _apply(_BEFORE_MARKUP, unquote_plus(caption).strip().lower())
    caption = BeautifulSoup(caption, features="html.parser").text
    caption = _apply(_AFTER_MARKUP, caption)
    if len(_SEPARATORS.findall(caption)) > _MAX_SEPARATORS:
        caption = _SEPARATORS.sub(" ", caption)
    caption = html.unescape(html.unescape(ftfy.fix_text(caption)))
    return _apply(_AFTER_DASHES, caption).strip()


def _apply(rules: list[_Rule], text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text
