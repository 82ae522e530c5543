"""Numbers with their protocol: result files, tables and plots."""
