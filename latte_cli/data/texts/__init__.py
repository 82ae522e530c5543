"""Encoded texts on disk: each text once, whatever videos it describes."""
