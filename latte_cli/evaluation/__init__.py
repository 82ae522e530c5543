"""Measuring clips: from any source of videos, by a protocol, to numbers that can be compared.

sources -> plan (which clips) -> features (streamed, kept on disk) -> numbers -> a result file
"""
