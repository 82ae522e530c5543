"""Prompts and what a text encoder makes of them."""
