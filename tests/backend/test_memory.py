"""Reuse of freed memory: page faults of repeated allocations, and memory that the process holds."""

import json
import subprocess
import sys

import keras
import pytest

# In a process of its own, whose memory nobody has used before.
PROGRAM = """
import json, resource, torch
from pathlib import Path
from cifar_zoo.backend.memory import keeping_freed_memory

def held():
    return int(Path("/proc/self/statm").read_text().split()[1])  # pages

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

pages = {"before": new_pages()}
with keeping_freed_memory():
    pages["within"] = min(new_pages() for _ in range(5))  # once small things have found their places
    pages["held within"] = held()
print(json.dumps(pages | {"held after": held()}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_blocks_stay_within_and_go_after():
    if keras.backend.backend() != "torch":
        pytest.skip("the other backends keep their blocks themselves")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = json.loads(done.stdout)
    assert pages["within"] < pages["before"] / 20, pages
    assert pages["held after"] < pages["held within"] - pages["before"] / 20, pages
