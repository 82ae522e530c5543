"""A writer of small RAR 5 archives, after RARLAB's technical note.

https://www.rarlab.com/technote.htm; unrar, bsdtar and 7z read what it stores.
"""

import zlib

MARK = b"Rar!\x1a\x07\x01\x00"
FILE, FOLDER, SYMLINK, HARD_LINK = range(4)
_MAIN, _MEMBER, _END = 1, 2, 5
_HAS_EXTRA, _HAS_DATA = 0x1, 0x2
_IS_FOLDER, _HAS_CHECKSUM = 0x1, 0x4
_STORED, _NORMAL = 0 << 7, 3 << 7
_REDIRECTION, _UNIX = 5, 1
_MODES = {FILE: 0o100644, FOLDER: 0o040755, SYMLINK: 0o120777, HARD_LINK: 0o100644}
_REDIRECTED = {SYMLINK: 1, HARD_LINK: 4}


def rar_of(members, *, packed=False):
    """The bytes of an archive.

    Args:
        members: by name, text of a file, None for a folder, (SYMLINK, target) or
            (HARD_LINK, target).
        packed: say that files are compressed, so that a tool must read them; they are stored.
    """
    blocks = [_block(_MAIN, 0, [0])]
    for name, what in members.items():
        kind, target = (
            what if isinstance(what, tuple) else (FILE if what is not None else FOLDER, "")
        )
        data = what.encode() if kind == FILE else b""
        blocks.append(_member(name, kind, target, data, _NORMAL if packed else _STORED))
    return MARK + b"".join(blocks) + _block(_END, 0, [0])


def _member(name, kind, target, data, method):
    extra = b""
    if target:
        link = [_REDIRECTION, _REDIRECTED[kind], 0, len(target.encode()), target.encode()]
        extra = _words([len(_words(link)), *link])
    flags = _HAS_DATA | (_HAS_EXTRA if extra else 0)
    about = [_IS_FOLDER if kind == FOLDER else _HAS_CHECKSUM, len(data), _MODES[kind]]
    checksum = [] if kind == FOLDER else [zlib.crc32(data).to_bytes(4, "little")]
    name = name.encode()
    body = [*about, *checksum, method, _UNIX, len(name), name, extra]
    sizes = [len(extra)] * bool(extra) + [len(data)]
    return _block(_MEMBER, flags, [*sizes, *body]) + data


def _block(kind, flags, words):
    header = _words([kind, flags, *words])
    header = _words([len(header), header])
    return zlib.crc32(header).to_bytes(4, "little") + header


def _words(values):
    """Bytes unchanged, numbers as variable-length integers, lowest bits first."""
    return b"".join(value if isinstance(value, bytes) else _number(value) for value in values)


def _number(value):
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
