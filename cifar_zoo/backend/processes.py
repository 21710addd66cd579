"""Training in several processes of JAX: which one this is, and what process 0 knows and the others need.

Every process runs the same program and takes the same decisions at the same steps, because each computation on the
devices of all processes needs all of them. Process 0 alone reads and writes the files of a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.errors import CifarZooError, shown
from cifar_zoo.lazy import keras

CONNECT_SECONDS = 300.0  # for all processes to start
_LAST_WORDS_SECONDS = 3.0  # for all processes to report an error, before the end of process 0 ends the others
# The statuses and words with which JAX reports that a collective operation failed.
_LOST = re.compile(r"(UNKNOWN|UNAVAILABLE|INTERNAL|ABORTED|CANCELLED|DEADLINE_EXCEEDED|FAILED_PRECONDITION): ")
_BETWEEN_PROCESSES = re.compile(r"gloo|nccl|connection|coordination|heartbeat|peer|remote", re.IGNORECASE)


def process_of_several(coordinator: str | None, processes: int | None, process_id: int | None) -> bool:
    """Check the address of process 0, the number of processes and the number of this one.

    Returns: Whether they are given.

    Raises:
        CifarZooError: If one of them is invalid, or only some are given.
    """
    given = {"--coordinator": coordinator, "--processes": processes, "--process-id": process_id}
    if missing := [name for name, value in given.items() if value is None]:
        if len(missing) == len(given):
            return False
        raise CifarZooError(f"{', '.join(given)} belong together; give {' and '.join(missing)} as well")
    assert coordinator is not None and processes is not None and process_id is not None
    host, _, port = coordinator.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise CifarZooError(f"coordinator must be HOST:PORT, not {shown(coordinator)}")
    if processes < 1:
        raise CifarZooError(f"processes must be 1 or more, not {processes}")
    if not 0 <= process_id < processes:
        raise CifarZooError(f"process_id must be from 0 to {processes - 1}, not {process_id}")
    return True


def join_processes(coordinator: str | None = None, processes: int | None = None, process_id: int | None = None) -> None:
    """Connect this process with the others of a training, before JAX computes anything.

    Args:
        coordinator: Address of process 0, "HOST:PORT", with a port that is free there. None to find the processes in
            the environment, as `jax.distributed.initialize` does.
        processes: Integer. Number of processes.
        process_id: Integer. Number of this process, from 0.

    Raises:
        CifarZooError: If the backend is not JAX, if an argument is invalid or missing, if there is nothing in the
            environment, or if not all processes are connected within `CONNECT_SECONDS`. In the last case the process
            can only be ended, by `leave`.
    """
    process_of_several(coordinator, processes, process_id)
    if keras.backend.backend() != "jax":
        raise CifarZooError(
            f"only the JAX backend trains in several processes, not {keras.backend.backend()}; set KERAS_BACKEND=jax"
        )
    import jax

    if coordinator is not None and process_id == 0:
        _check_port(coordinator)
    # JAX's own handler of SIGTERM would keep that signal from this process.
    jax.config.update("jax_enable_preemption_service", False)
    # On a CPU each operation between devices waits in a thread, and many steps at once would take all threads. Where a
    # process has several devices, this has no effect.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    errors: list[Exception] = []

    def connect() -> None:
        try:
            jax.distributed.initialize(
                coordinator,
                processes,
                process_id,
                # Where there is a cluster, JAX would limit this process to one device, by its number on the host.
                cluster_detection_method=None if coordinator is None else "deactivate",
                # If JAX itself finds that a process does not come, it aborts the program.
                initialization_timeout=2 * round(CONNECT_SECONDS) + 60,
                shutdown_timeout_seconds=60,
            )
        except Exception as error:  # of the environment: JAX and the clients of clusters raise many types
            errors.append(error)

    connecting = threading.Thread(target=connect, daemon=True)
    connecting.start()
    connecting.join(CONNECT_SECONDS)
    if connecting.is_alive():
        known = f"coordinator {coordinator}" if coordinator else "coordinator in the environment"
        raise CifarZooError(
            f"not all processes have connected to the {known} within {CONNECT_SECONDS:.0f} s; start every process, "
            "and let the port of process 0 be reached by all"
        )
    if errors:
        if coordinator is None and "should be defined" in str(errors[0]):
            raise CifarZooError(
                "the environment does not name the processes of a training, as SLURM, Open MPI and Kubernetes do; "
                "give --coordinator, --processes and --process-id"
            )
        raise CifarZooError(f"the processes cannot be connected: {errors[0]}")


def _check_port(coordinator: str) -> None:
    """Raise CifarZooError if the port of process 0 is taken, which would end JAX with a segmentation fault."""
    port = int(coordinator.rpartition(":")[2])
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        socket.create_server(("", port), family=family, dualstack_ipv6=family == socket.AF_INET6).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CifarZooError(f"process 0 cannot listen on port {port} ({reason}); choose another") from error


def leave(code: int) -> None:
    """End this process with an exit code after an error, if it is one of several; otherwise return.

    The usual end of a program waits for all processes, some of which may be lost.
    """
    jax = sys.modules.get("jax")
    if jax is None or not jax.distributed.is_initialized():
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    time.sleep(_LAST_WORDS_SECONDS)
    os._exit(code)


def process_count() -> int:
    """The number of processes that train together; 1 on other backends than JAX."""
    if keras.backend.backend() != "jax":
        return 1
    import jax

    return int(jax.process_count())


def process_index() -> int:
    """The number of this process among those that train together, from 0."""
    if keras.backend.backend() != "jax":
        return 0
    import jax

    return int(jax.process_index())


def largest(number: int) -> int:
    """The largest of the numbers that the processes give."""
    if process_count() == 1:
        return number
    from jax.experimental import multihost_utils

    return int(multihost_utils.process_allgather(np.int32(number)).max())


def of_process_0(number: float) -> float:
    """The number that process 0 gives, to the bit."""
    if process_count() == 1:
        return number
    (found,) = struct.unpack("<d", _broadcast(np.frombuffer(struct.pack("<d", number), "uint8")).tobytes())
    return float(found)


def on_process_0(function: Callable[[], Any]) -> Any:
    """Call a function in process 0 alone.

    Args:
        function: Function without arguments, which computes nothing with the devices. It returns plain values, which
            can be written as JSON.

    Returns: What it returns, in every process.

    Raises:
        CifarZooError, OSError: What it raises, in every process.
    """
    if process_count() == 1:
        return function()
    result, error, content = None, None, b""
    if process_index() == 0:
        try:
            result = function()
            content = json.dumps({"result": result}).encode()
        except (CifarZooError, OSError) as caught:
            error = caught
            content = json.dumps({"error": str(caught), "bad_input": isinstance(caught, CifarZooError)}).encode()
    content = _broadcast_bytes(content)
    if error is not None:
        raise error
    if process_index() == 0:
        return result
    found = json.loads(content)
    if "error" in found:
        raise CifarZooError(found["error"]) if found["bad_input"] else OSError(found["error"])
    return found["result"]


def arrays_of_process_0(
    arrays: Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]], dtypes: Sequence[str]
) -> list[np.ndarray]:
    """Return the arrays that process 0 gives, in every process.

    Args:
        arrays: The arrays of process 0, which other processes leave empty.
        shapes: The shape of each array.
        dtypes: The dtype of each array.
    """
    if process_count() == 1:
        return list(arrays)
    kinds = [(shape, np.dtype(dtype)) for shape, dtype in zip(shapes, dtypes, strict=True)]
    sizes = [int(np.prod(shape)) * dtype.itemsize for shape, dtype in kinds]
    content = np.zeros(sum(sizes), "uint8")
    if process_index() == 0:
        content = np.frombuffer(b"".join(array.tobytes() for array in arrays), "uint8")
    parts = np.split(_broadcast(content), np.cumsum(sizes)[:-1])
    return [
        np.frombuffer(part.tobytes(), dtype).reshape(shape) for part, (shape, dtype) in zip(parts, kinds, strict=True)
    ]


@contextlib.contextmanager
def file_of_process_0(path: Path) -> Iterator[Path]:
    """A file that process 0 can read, in every process: the path itself, or that of a copy within this context."""
    if process_count() == 1:
        yield path
        return
    content = path.read_bytes() if process_index() == 0 else b""
    content = _broadcast_bytes(content)
    if process_index() == 0:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_bytes(content)
        yield copy


def check_same_everywhere(values: dict[str, Any]) -> None:
    """Raise CifarZooError in every process unless all processes have the same plain values."""
    if process_count() == 1:
        return
    theirs = on_process_0(lambda: values)
    ours = json.loads(json.dumps(values))
    differing = [number for number, name in enumerate(sorted(theirs), 1) if ours.get(name) != theirs[name]]
    if first := largest(differing[0] if differing else 0):
        raise CifarZooError(
            f"the processes differ in {sorted(theirs)[first - 1]}; start all of them with the same options and data"
        )


@contextlib.contextmanager
def naming_lost_processes() -> Iterator[None]:
    """Turn the error of an operation between processes, which fails when one of them is lost, into CifarZooError."""
    try:
        yield
    except CifarZooError:
        raise
    except (RuntimeError, ValueError) as error:  # what JAX raises, sometimes while it converts an array
        text = str(error)
        if not (_LOST.match(text) and _BETWEEN_PROCESSES.search(text)):
            raise
        raise CifarZooError(
            f"another process of this training is lost ({text[:200]}); start all processes again, and the run "
            "resumes from its last checkpoint"
        ) from error


def _broadcast_bytes(content: bytes) -> bytes:
    size = int(of_process_0(len(content)))
    array = np.frombuffer(content, "uint8") if process_index() == 0 else np.zeros(size, "uint8")
    return _broadcast(array).tobytes()


def _broadcast(array: np.ndarray) -> np.ndarray:
    """The array of bytes of process 0, in every process. Other processes give one of the same size."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.broadcast_one_to_all(array))
