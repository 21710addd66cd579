"""Weights from the Hugging Face hub, a mirror or a folder, and their local cache.

The environment variables `HF_ENDPOINT`, `HF_HUB_OFFLINE` and `HF_TOKEN` of huggingface_hub apply. The cache is in
`CIFAR_ZOO_HOME`.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import home_folder, write_atomically
from cifar_zoo.weights.manifest import Entry, read_manifest

_log = logging.getLogger(__name__)

ATTEMPTS = 4
PAUSE = 1.0  # seconds before the second attempt; doubles with each further attempt
LONGEST_PAUSE = 60.0  # seconds; if the hub asks for more, the download fails
_SCRATCH = ".download-"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_temporary: Path | None = None  # replaces a cache that is not writable, until the process ends


class _WrongFileError(Exception):
    """The downloaded file is not the one that the manifest names."""


def cache_folder() -> Path:
    """The folder of downloaded weights: `$CIFAR_ZOO_HOME/weights`, by default ~/.cache/cifar_zoo/weights."""
    return home_folder() / "weights"


def download(entry: Entry) -> Path:
    """Return the path of a published file in the cache, after downloading it if necessary.

    The size and the hash are verified. A file in the cache with another hash is replaced. If the cache is not writable,
    the file is kept in a temporary folder until the process ends.

    Raises:
        CifarZooError: If the file cannot be downloaded. The message gives the reason and what to do.
    """
    if found := read_cached(entry):
        return found[0]
    cached = cache_folder() / entry.file
    if entry.repository is None:
        raise CifarZooError(f"{entry.file} is not published yet; `{entry.command}` trains such weights")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise CifarZooError(
            f"{cached} {entry.difference(cached)}, and HF_HUB_OFFLINE forbids a download; run `{_command(entry)}` with "
            "the same CIFAR_ZOO_HOME where there is a network"
        )
    for attempt in range(ATTEMPTS):
        try:
            return _fetch(entry.repository, entry, _place(entry))
        except Exception as error:  # of httpx, of httpx2, or of the file system
            reason = _unwrap(error)
            pause = _pause(reason, attempt)
            if pause is None:
                raise CifarZooError(_explain(reason, entry)) from error
            _log.warning("%s: %s; trying again in %g s", entry.file, _first_line(reason), pause)
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def copy_to_cache(entry: Entry, folder: Path) -> Path:
    """Return the path of a published file in the cache, after copying it from a folder if necessary.

    Args:
        entry: `Entry` of the file.
        folder: Path of a folder that has the file under its path in the manifest, such as weights/ of a checkout, or
            under its name alone. The root of a checkout will do, too.

    Raises:
        CifarZooError: If the file is not there or is not the published one, or cannot be written.
    """
    if found := read_cached(entry):
        return found[0]
    source = find_in(folder, entry)
    if source is None:
        raise CifarZooError(f"{folder} has no {entry.file}; name a folder that has, such as weights/ of a checkout")
    content, problem = entry.read(source)
    if problem:
        raise CifarZooError(f"{source} is not the published file: it {problem}")
    if source.parts[-3:] == Path(entry.file).parts and (damaged := entry.damaged(source.parent)):
        raise CifarZooError(f"{source.parent}: {', '.join(damaged)} beside the weights is not the published file")
    try:
        path = _place(entry)
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        raise CifarZooError(_no_room(str(source), error, entry)) from error
    return path


def find_in(folder: Path, entry: Entry) -> Path | None:
    """Return the path of an entry's file in a folder, as for `copy_to_cache`, or None."""
    paths = (entry.file, f"weights/{entry.file}", PurePosixPath(entry.file).name)
    return next((path for name in paths if (path := folder / name).is_file()), None)


def read_cached(entry: Entry) -> tuple[Path, bytes] | None:
    """Return the path and verified content of an entry's file in the cache, or None if it is missing or differs."""
    for folder in (cache_folder(), _temporary):
        if folder is not None:
            path = folder / entry.file
            content, problem = entry.read(path)
            if not problem:
                return path, content
    return None


def _fetch(repository: str, entry: Entry, path: Path) -> Path:
    """Download a file under a temporary name, verify it, and move it to its path."""
    from huggingface_hub import hf_hub_download

    for old in path.parent.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):  # another process may be removing its own
            if old.stat().st_mtime < time.time() - 24 * 3600:  # of a process that was killed
                shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=path.parent) as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Not enough free disk space")  # an error follows in this case
        file = Path(
            hf_hub_download(
                repository,
                entry.file,
                revision=entry.revision,
                endpoint=endpoint(),
                cache_dir=folder,
                local_dir=folder,
                force_download=True,  # makes one attempt instead of six, as attempts are repeated here
                library_name="cifar_zoo",
            )
        )
        if problem := entry.difference(file):
            raise _WrongFileError(f"the download {problem}")
        with file.open("rb+") as written:
            os.fsync(written.fileno())
        file.replace(path)
    return path


def endpoint() -> str:
    """Return the URL of the hub or its mirror. huggingface_hub itself reads the environment only at import."""
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT


def _place(entry: Entry) -> Path:
    """Return the path for a download: in the cache or, if it is not writable, in a temporary folder of this process."""
    global _temporary
    path = cache_folder() / entry.file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
        return path
    except OSError as error:
        if error.errno in _FULL:
            raise
        if _temporary is None:
            _temporary = Path(tempfile.mkdtemp(prefix="cifar_zoo-"))
            atexit.register(shutil.rmtree, _temporary, ignore_errors=True)
            _log.warning(
                "%s cannot be written (%s): weights are kept in %s until this process ends; set CIFAR_ZOO_HOME to "
                "another folder to keep them",
                cache_folder(),
                error.strerror,
                _temporary,
            )
        path = _temporary / entry.file
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _unwrap(error: Exception) -> BaseException:
    """Return the cause of an error that huggingface_hub has wrapped in a general one."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    wrapped = isinstance(error, (LocalEntryNotFoundError, ValueError)) and error.__cause__
    return wrapped or error


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _pause(error: BaseException, attempt: int) -> float | None:
    """Return the seconds to wait before the next attempt, or None if another attempt cannot help."""
    if attempt == ATTEMPTS - 1 or (isinstance(error, OSError) and error.errno):
        return None
    status = _status(error)
    if status is not None and status not in (408, 429) and status < 500:
        return None
    pause = PAUSE * 2**attempt
    if status is not None:
        asked = error.response.headers.get("Retry-After", "")  # type: ignore[attr-defined]
        pause = max(pause, float(asked)) if asked.isdecimal() else pause
    return pause if pause <= LONGEST_PAUSE else None


def _explain(error: BaseException, entry: Entry) -> str:
    """Return the error message: what happened and what to do."""
    from huggingface_hub.errors import RepositoryNotFoundError

    what = f"{entry.file} of {endpoint()}/{entry.repository}"
    status = _status(error)
    if isinstance(error, _WrongFileError):
        return f"{what} is not the published file: {error}; try again later, or set HF_ENDPOINT to another mirror"
    if isinstance(error, OSError) and error.errno:
        return _no_room(what, error, entry)
    if isinstance(error, RepositoryNotFoundError) or status in (401, 403):
        return f"{what} cannot be accessed ({status}); set HF_TOKEN to a token with access, or run `hf auth login`"
    if status == 404:
        return (
            f"{what} is not there at commit {entry.revision} (404); upgrade cifar_zoo, or set HF_ENDPOINT to a mirror "
            "that has it"
        )
    if status == 429:
        return f"{what}: too many requests (429); try again later, or set HF_TOKEN"
    return (
        f"{what} cannot be fetched ({_first_line(error)}); try again later, set HF_ENDPOINT to a mirror, or run "
        f"`{_command(entry)}` where there is a network and copy {cache_folder()}"
    )


def _no_room(what: str, error: OSError, entry: Entry) -> str:
    return (
        f"{what} cannot be kept below {cache_folder()}: {os.strerror(error.errno or 0)}; make room for "
        f"{entry.bytes / 1e6:.1f} MB, or set CIFAR_ZOO_HOME to another folder"
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).split("\n")), "").strip() or type(error).__name__


def _command(entry: Entry) -> str:
    name, tag, _ = entry.file.split("/")
    return f"cifar-zoo download {name} --tag {tag}"


@dataclass(frozen=True)
class CachedFile:
    """A file in the cache.

    Attributes:
        path: Path of the file.
        bytes: Integer. Size of the file.
        problem: String. How the file differs from the published one; empty if it does not.
    """

    path: Path
    bytes: int
    problem: str


def cached_files(names: Collection[str] = ()) -> list[CachedFile]:
    """Return the files in the cache, of the given networks or by default of all."""
    folder = cache_folder()
    entries = {entry.file: entry for tags in read_manifest().values() for entry in tags.values()}
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        relative = path.relative_to(folder)
        if not names or relative.parts[0] in names:
            entry = entries.get(relative.as_posix())
            problem = entry.difference(path) if entry else "is not in the manifest"
            found.append(CachedFile(path, path.stat().st_size, problem))
    return found


def clear_cache(names: Collection[str] = ()) -> list[CachedFile]:
    """Remove files from the cache, of the given networks or by default of all, and return those removed."""
    removed = cached_files(names)
    for folder in {cache_folder() / file.path.relative_to(cache_folder()).parts[0] for file in removed}:
        shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    return removed
