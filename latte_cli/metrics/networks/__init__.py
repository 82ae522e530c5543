"""The feature networks of FVD, FID, IS and LPIPS, and how their published weights come in."""
