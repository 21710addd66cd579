"""What maintainers do: staging a finished run, model cards, and the upload to the hub."""
