"""All that is about one backend or one kind of hardware."""
