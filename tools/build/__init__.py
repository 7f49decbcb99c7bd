"""Binaries and the page: compilation, their commit, the smaller page, reproducibility."""
