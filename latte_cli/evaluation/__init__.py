"""Evaluation of clips from any source of videos, by a protocol, in numbers that can be compared.

sources -> plan (which clips) -> features (kept on disk) -> measuring -> results
"""
