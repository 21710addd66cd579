"""Tools of the maintainers: staging a finished run, model cards, and the upload to the hub."""
