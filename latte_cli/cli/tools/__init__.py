"""The commands beside the main workflow: analysis, calibration and conversion."""
