"""The Keras callbacks of a run, one for each task."""
