"""Presets as they are shown: commented YAML for people, and a JSON schema for editors."""
