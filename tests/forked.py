"""What a process does that is forked to run Python; in a module of its own, as the process imports it by its name."""

import os
import runpy
import sys
import types
from pathlib import Path


def read_at_start(environment):
    """What Python, TensorFlow and Keras read from the environment before the first line of a program."""
    names = ("PYTHON", "LANG", "LC_", "HOME", "KERAS_", "TF_", "OMP_", "CUDA_", "XLA_")
    return {name: value for name, value in environment.items() if name.startswith(names)}


def become_python(arguments, env, cwd, outputs):
    """Do in this process what `python ARGUMENTS` does."""
    for number, output in enumerate(outputs, start=1):
        os.dup2(os.open(output, os.O_CREAT | os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    first, *rest = arguments
    sys.path.insert(0, str(Path(first).parent if first.endswith(".py") else Path.cwd()))
    if first == "-c":
        sys.argv[:] = [first, *rest[1:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(rest[0], vars(main))
    elif first == "-m":
        sys.argv[:] = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = arguments
        runpy.run_path(first, run_name="__main__")
