"""What a block that was freed costs when it comes again, in pages that the system clears."""

import resource
import sys

import keras
import pytest

from cifar_zoo.training.memory import keeping_freed_memory


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_blocks_come_again_without_new_pages():
    if keras.backend.backend() != "torch":
        pytest.skip("the other backends keep their blocks themselves")
    import torch

    def new_pages():
        """Of ten blocks of 32 MB, one behind the other."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(2**23)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    before = new_pages()
    with keeping_freed_memory():
        torch.ones(2**23)
        within = new_pages()
    assert within < before / 20
    assert new_pages() > before / 2
