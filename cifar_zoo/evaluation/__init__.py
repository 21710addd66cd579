"""Measurements on trained networks, and their use on images."""
