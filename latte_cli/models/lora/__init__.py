"""Low-rank adapters (LoRA): trained through `peft`, read and written in its and other layouts."""
