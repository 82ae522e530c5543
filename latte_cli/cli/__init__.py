"""The command line: parses options, builds the configuration, runs a command, prints its result."""

from latte_cli.cli.application import app, main, run_command

__all__ = ["app", "main", "run_command"]
