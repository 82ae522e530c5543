"""Latents on disk: planned, encoded, written into shards, checked and read back."""
