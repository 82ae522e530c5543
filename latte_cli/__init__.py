"""Latte: latent diffusion transformers for video generation (arXiv 2401.03048)."""

__version__ = "0.2.0.dev0"
