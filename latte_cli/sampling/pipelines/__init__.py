"""Text-to-video pipelines in diffusers' layout: reading their parts, and writing whole ones."""
