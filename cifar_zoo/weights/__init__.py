"""Weights files: the manifest of published files, and their download, verification, loading and saving."""
