"""The commands of a first day: presets, one of one's own, and what this machine can do."""
