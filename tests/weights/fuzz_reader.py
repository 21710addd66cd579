"""Fork the reader of weights files on randomly damaged ones: python fuzz_reader.py GOOD SECONDS.

A script, because only a process without threads can fork thousands of times; that takes 3 ms where a new process takes
150. The HDF5 library may crash, which is why the reader runs in a separate process.
"""

import json
import math
import os
import resource
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from cifar_zoo.weights import reader


def damage(content, changes):
    content = bytearray(content)
    for kind, at, *rest in changes:
        if kind == "byte":
            content[at : at + 1] = bytes(rest)
        elif kind == "word":
            content[at : at + 8] = rest[0].to_bytes(8, "little")
        elif kind == "copy":
            start, length = rest
            content[at : at + length] = content[start : start + length]
        else:
            del content[at:]
    return bytes(content)


def main(path, seconds, most=100_000):
    """Fork the reader on randomly damaged files and look at what each process replies, and how it ends."""
    content = Path(path).read_bytes()
    used = [place for place, byte in enumerate(content) if byte]
    random = np.random.default_rng(0)
    reader.MOST_SECONDS = 1
    hostile, reply = (Path(path).with_name(name) for name in ("hostile", "reply"))
    ends = {"read": 0, "refused": 0, "crashed": 0, "memory": 0}
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        changes = []
        for _ in range(random.integers(1, 5)):
            at, other, kind = random.choice(used), random.choice(used), random.choice(["byte", "byte", "word", "copy"])
            word = random.choice(np.array([0, 1, 2**16, 2**31, 2**63, 2**64 - 1, other], "uint64"))
            rest = {"byte": [random.integers(256)], "word": [int(word)], "copy": [other, random.integers(1, 200)]}[kind]
            changes.append((kind, at, *rest))
        hostile.write_bytes(damage(content, changes))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(os.open(hostile, os.O_RDONLY), 0)
                os.dup2(os.open(reply, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
                sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
                sys.argv = ["reader.py", str(most)]
                reader.main()
                code = 0
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status, used_up = os.wait4(child, 0)
        ends["memory"] = max(ends["memory"], used_up.ru_maxrss)
        if os.WIFSIGNALED(status):
            ends["crashed"] += 1
            continue
        assert os.WEXITSTATUS(status) == 0, f"an exception with the changes {changes}"
        line, rest = reply.read_bytes().split(b"\n", 1)
        answer = json.loads(line)
        if "error" in answer:
            ends["refused"] += 1
            continue
        ends["read"] += 1
        for _, _, _, shape, dtype in answer["arrays"]:
            size = math.prod(shape) * np.dtype(dtype).itemsize
            value, rest = np.frombuffer(rest[:size], dtype), rest[size:]
            assert value.size == math.prod(shape) and np.isfinite(value).all()
        assert not rest
    ends["memory"] -= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(ends))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
