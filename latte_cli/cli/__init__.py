"""The command line: options to a configuration, to a command's `run`, to a printed result."""

from latte_cli.cli.application import app, main

__all__ = ["app", "main"]
