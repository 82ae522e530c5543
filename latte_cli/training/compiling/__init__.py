"""Compiling the blocks of a network for training: whether, and how."""
