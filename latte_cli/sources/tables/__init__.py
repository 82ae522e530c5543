"""Rows of tables of captions: CSV in its dialects, JSON, lines of JSON, Parquet."""
