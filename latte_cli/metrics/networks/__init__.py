"""The feature networks of FVD, FID, the Inception Score and LPIPS."""
