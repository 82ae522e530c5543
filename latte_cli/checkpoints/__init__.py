"""Checkpoints: folders that appear whole, are checked by their checksums and resume exactly."""
