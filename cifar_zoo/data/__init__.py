"""Images: CIFAR-10 from wherever it is, and photographs made to look like it."""
