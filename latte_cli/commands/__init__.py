"""One file a subcommand: `run(…)` tells its story from top to bottom and returns what came of it."""
