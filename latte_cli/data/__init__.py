"""Prepared data sets: the manifest of videos, their checking, latents and training clips."""
