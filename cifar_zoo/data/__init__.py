"""CIFAR-10 and its constants, image files, and folders of images."""
