"""Clips that several processes share: a part of their tokens each."""
