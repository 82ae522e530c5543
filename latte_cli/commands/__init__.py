"""One file a subcommand: `run(…)` tells its story top to bottom and returns what came of it."""
