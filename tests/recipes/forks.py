"""Runs of the command line in forks of a process that has imported everything: quick to kill."""

import os
from pathlib import Path


def start(*words: object, said: str = os.devnull) -> int:
    """Run the command line in a fork; its process number, which is its process group's, too.

    Args:
        words: of the command line.
        said: a file that stdout and stderr are appended to.
    """
    # Not on top: processes that decode videos begin by reading the script, and so this file.
    from latte_cli.cli import app

    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        told = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(told, 1)
        os.dup2(told, 2)
        app([str(word) for word in words])
    except SystemExit as end:
        code = int(end.code or 0)
    except KeyboardInterrupt:  # before the command has begun, where the process itself would end
        code = 130
    finally:
        os._exit(code)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
