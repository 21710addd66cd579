"""`python -m cifar_zoo` is `cifar-zoo`."""

from cifar_zoo.cli import main

main()
