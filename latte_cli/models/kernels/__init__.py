"""Attention over time and modulated norms as Triton kernels, each beside its plain form."""
