"""Recursive listing of the sublayers of a layer."""

import keras


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layers that a layer holds as attributes, directly or through its sublayers, each of them once."""
    found: dict[int, keras.layers.Layer] = {}
    for value in vars(layer).values():
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(part, keras.layers.Layer) and id(part) not in found:
                found |= {id(inner): inner for inner in (part, *sublayers(part))}
    return list(found.values())
