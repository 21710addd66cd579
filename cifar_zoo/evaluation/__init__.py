"""Metrics of trained networks, their predictions, and what their layers cost."""
