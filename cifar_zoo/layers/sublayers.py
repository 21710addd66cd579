"""The layers that a layer is made of."""

import keras


def sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers that a layer holds, those that they hold themselves among them, each once."""
    found: dict[int, keras.layers.Layer] = {}
    for value in vars(layer).values():
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(part, keras.layers.Layer) and id(part) not in found:
                found |= {id(inner): inner for inner in (part, *sublayers(part))}
    return list(found.values())
