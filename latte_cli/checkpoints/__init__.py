"""Checkpoints: written whole, verified by checksums, resumed exactly."""
