"""The command line of `latte eval`."""
