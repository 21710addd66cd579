"""What a block that was freed costs when it comes again, in pages that the system clears."""

import json
import subprocess
import sys

import keras
import pytest

# In a process of its own, whose memory nobody has used before.
PROGRAM = """
import json, resource, torch
from cifar_zoo.training.memory import keeping_freed_memory

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

pages = [new_pages()]
with keeping_freed_memory():
    torch.ones(2**24)
    pages.append(new_pages())
print(json.dumps([*pages, new_pages()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_blocks_come_again_without_new_pages():
    if keras.backend.backend() != "torch":
        pytest.skip("the other backends keep their blocks themselves")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, within, after = json.loads(done.stdout)
    assert within < before / 20 and after > before / 2, done.stdout
