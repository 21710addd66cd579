"""Weights files: the manifest of the published ones, downloads, verification, loading and saving."""
