"""What numpy and its parsers raise at npz and npy files that are damaged."""

import lzma
import tokenize
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from zipfile import BadZipFile

ARRAY_ERRORS = (
    *(BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError),  # of the archive
    *(tokenize.TokenError, SyntaxError, RecursionError),  # of the header, a line of Python
    *(EOFError, KeyError, OverflowError, TypeError, ValueError),
)
"""Errors of reading an array, beside those of the operating system."""


@contextmanager
def no_password_needed() -> Iterator[None]:
    """Turn zipfile's RuntimeError of a member that is marked as encrypted into BadZipFile.

    Nobody encrypts arrays: the mark is damaged.
    """
    try:
        yield
    except RuntimeError as error:
        if "encrypted" not in str(error):
            raise
        raise BadZipFile(str(error)) from error
