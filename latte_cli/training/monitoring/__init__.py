"""How a run goes: metrics, held-out loss, previews and evaluation while training."""
