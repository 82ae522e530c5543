"""Monitoring a run: metrics, the panel, held-out loss, previews and evaluation while training."""
