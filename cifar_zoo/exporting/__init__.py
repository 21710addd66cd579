"""Exporting networks to the formats of other runtimes. `format` describes a format; each has a module of its own."""
