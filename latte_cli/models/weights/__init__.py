"""Weights in and out: whole networks from files of any published format, and back."""
