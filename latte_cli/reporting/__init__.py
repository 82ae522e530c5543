"""Reports: one HTML page about runs, or about a folder of clips, that opens without a network."""
