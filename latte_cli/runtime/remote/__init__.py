"""Files that lie elsewhere, at a URL of fsspec (`s3://`, `gs://`, `hf://`, …).

All other code works with paths. A URL has a folder in the user's cache, the mirror: its path tells
the URL, and what is needed of the URL is fetched there, or written there and then uploaded.
"""
