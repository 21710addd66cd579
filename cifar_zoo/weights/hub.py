"""Weights from the Hugging Face hub, a mirror or a folder, and their local cache.

The environment variables `HF_ENDPOINT`, `HF_HUB_OFFLINE` and `HF_TOKEN` of huggingface_hub apply. The cache is in
`CIFAR_ZOO_HOME`.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from cifar_zoo.download import DownloadError, check_client, fetch
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import (
    check_room,
    git_hash,
    home_folder,
    read_expected,
    remove_abandoned,
    write_atomically,
)
from cifar_zoo.version import __version__
from cifar_zoo.weights.manifest import Entry, read_manifest

_log = logging.getLogger(__name__)

LOCK_PATIENCE = 60.0  # seconds to wait for another process that downloads the same file
_CACHED = r"[^/]+-[0-9a-f]{16}\.weights\.h5"  # the names of the files in the cache
_REMOTE = r"(?P<org>[^/]+?)--(?P<name>[^/]+)@(?P<commit>[0-9a-f]{40})\.(?P<network>[^/]+)-(?P<hash>[0-9a-f]{16})\..*"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_temporary: Path | None = None  # replaces a cache that is not writable, until the process ends


def cache_folder() -> Path:
    """The folder of downloaded weights: `$CIFAR_ZOO_HOME/weights`, by default ~/.cache/cifar_zoo/weights."""
    return home_folder() / "weights"


def _file_name(entry: Entry) -> str:
    """Return the name of a file in the cache.

    It has the hash in it, so that versions of this library with other files of the same name can share a cache.
    """
    network, tag, _ = entry.file.split("/")
    return f"{network}.{tag}-{entry.sha256[:16]}.weights.h5"


def remote_name(repo_id: str, commit: str, network: str, digest: str) -> str:
    """Return the name in the cache of a file from any repository of the hub, which is in no manifest.

    Args:
        repo_id: String. "ORG/NAME" of the repository.
        commit: String. Commit of the repository; "*" in the pattern of all files with the same content.
        network: String. Registered name of the network.
        digest: String. Hash of the file in the repository, SHA-256 or that of Git.
    """
    return f"{repo_id.replace('/', '--')}@{commit}.{network}-{digest[:16]}.weights.h5"


def download(entry: Entry) -> tuple[Path, bytes]:
    """Return the path of a published file in the cache and its verified content, after downloading it if necessary.

    A file in the cache with another hash is replaced. If the cache is not writable, the file is kept in a temporary
    folder until the process ends.

    Raises:
        CifarZooError: If the file cannot be downloaded. The message gives the reason and what to do.
    """
    if found := read_cached(entry):
        return found
    cached = cache_folder() / _file_name(entry)
    if entry.repository is None:
        raise CifarZooError(f"{entry.file} is not published yet; `{entry.command}` trains such weights")
    if is_offline():
        raise CifarZooError(
            f"{cached} {entry.difference(cached)}, and HF_HUB_OFFLINE forbids a download; run `{_command(entry)}` with "
            "the same CIFAR_ZOO_HOME where there is a network"
        )
    hub, credentials = endpoint()
    what = f"{entry.file} of {hub}/{entry.repository}"
    try:
        path = place(_file_name(entry), entry.bytes)
        with _locked(path):
            if found := read_cached(entry):  # another process has downloaded it meanwhile
                return found
            url = f"{hub}/{entry.repository}/resolve/{entry.revision}/{entry.file}"
            content = fetch(url, entry.bytes, entry.difference_of, request_headers(credentials))
            keep(content, path)
    except DownloadError as error:
        raise CifarZooError(_explain(error, what, entry)) from error
    except OSError as error:
        raise CifarZooError(no_room(what, error, entry.bytes)) from error
    return path, content


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
        raise CifarZooError(
            f"{str(folder)!r:.300} has no {entry.file}; name a folder that has, such as weights/ of a checkout"
        )
    content, problem = entry.read(source)
    if problem:
        raise CifarZooError(f"{source} is not the published file: it {problem}")
    if source.parts[-3:] == Path(entry.file).parts and (damaged := entry.damaged(source.parent)):
        raise CifarZooError(f"{source.parent}: {', '.join(damaged)} beside the weights is not the published file")
    try:
        path = place(_file_name(entry), entry.bytes)
        keep(content, path)
    except OSError as error:
        raise CifarZooError(no_room(str(source), error, entry.bytes)) from error
    return path


def find_in(folder: Path, entry: Entry) -> Path | None:
    """Return the path of an entry's file in a folder, as for `copy_to_cache`, or None."""
    paths = (entry.file, f"weights/{entry.file}", PurePosixPath(entry.file).name)
    with contextlib.suppress(OSError):  # a name that is too long
        return next((path for name in paths if (path := folder / name).is_file()), None)
    return None


def read_cached(entry: Entry) -> tuple[Path, bytes] | None:
    """Return the path and verified content of an entry's file in the cache, or None if it is missing or differs."""
    return find_cached(_file_name(entry), entry.bytes, entry.difference_of)


def find_cached(name: str, size: int, difference: Callable[[bytes], str]) -> tuple[Path, bytes] | None:
    """Return the path and content of a file in the cache, verified as by `read_expected`, or None.

    The name may be a pattern, of which the first file that is whole is returned.
    """
    for folder in (cache_folder(), _temporary):
        for path in sorted(folder.glob(name)) if folder is not None else ():
            content, problem = read_expected(path, size, difference)
            if not problem:
                return path, content
    return None


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids downloads."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let other processes that want to download the same file wait, so that it is downloaded once.

    Nothing goes wrong without a lock, as files are written whole: where there can be none, or another process holds it
    for too long, the file is downloaded all the same.
    """
    from huggingface_hub.utils import WeakFileLock

    lock = path.with_name(f".{path.name}.lock")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # filelock.Timeout is one as well
            stack.enter_context(WeakFileLock(lock, timeout=LOCK_PATIENCE))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # it is a folder, or open on Windows
                lock.unlink()


def keep(content: bytes, path: Path) -> None:
    """Write a file of the cache. Its folder may have been removed since it was made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def endpoint() -> tuple[str, dict[str, str]]:
    """Return the URL of the hub or its mirror, and the headers that carry its user and password, if it has any.

    The URL itself has no password, so that no message shows it. huggingface_hub reads the environment only when it is
    imported.

    Raises:
        CifarZooError: If HF_ENDPOINT is not a URL.
    """
    given = os.environ.get("HF_ENDPOINT", "")
    hub, credentials = _parse_endpoint(given) if given else ("", {})
    check_client()
    if hub:
        return hub, credentials
    from huggingface_hub import constants

    return _parse_endpoint(constants.ENDPOINT)


def _parse_endpoint(given: str) -> tuple[str, dict[str, str]]:
    url = given.rstrip("/")
    after = url.rpartition("@")[2]
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        valid = valid and re.fullmatch(r"[!-~]+", url) and not parts.query and not parts.fragment
    except ValueError:  # of the port, among others
        valid = False
    if not valid:
        raise CifarZooError(f"HF_ENDPOINT must be a URL such as https://huggingface.co, not {after!r:.200}")
    if parts.username is None:
        return url, {}
    user = base64.b64encode(unquote(f"{parts.username}:{parts.password or ''}").encode()).decode()
    return f"{parts.scheme}://{after}", {"authorization": f"Basic {user}"}


def request_headers(credentials: dict[str, str]) -> dict[str, str]:
    """Return the headers of a request to the hub, with the user's token unless the endpoint has a password.

    `build_hf_headers` of huggingface_hub would first ask the hub for a list of programs that this one may run in.
    """
    from huggingface_hub import constants, get_token

    headers = {"user-agent": f"cifar_zoo/{__version__}", **credentials}
    if credentials or constants.HF_HUB_DISABLE_IMPLICIT_TOKEN or not (token := get_token()):
        return headers
    if not (token.isascii() and token.isprintable()):  # or an error would show it
        raise CifarZooError("HF_TOKEN, or the token of `hf auth login`, has characters that no token has; correct it")
    return {**headers, "authorization": f"Bearer {token}"}


def place(name: str, size: int) -> Path:
    """Return the path for a download: in the cache or, if it is not writable, in a temporary folder of this process.

    Args:
        name: Name of the file in the cache.
        size: Integer. Size of the file in bytes, for which there must be room.
    """
    global _temporary
    path = cache_folder() / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
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
        path = _temporary / path.name
    if path.is_dir():
        raise CifarZooError(f"{path} is a folder, and a file is kept there; remove the folder")
    check_room(path.parent, size)
    return path


def _explain(error: DownloadError, what: str, entry: Entry) -> str:
    """Return the error message: what happened and what to do."""
    if error.wrong_file:
        return f"{what} is not the published file: {error}; try again later, or set HF_ENDPOINT to another mirror"
    if error.headers.get("x-error-code") == "RepoNotFound" or error.status in (401, 403):
        return (
            f"{what} cannot be accessed ({error.status}); set HF_TOKEN to a token with access, or run `hf auth login`"
        )
    if error.status == 404:
        return (
            f"{what} is not there at commit {entry.revision} (404); upgrade cifar_zoo, or set HF_ENDPOINT to a mirror "
            "that has it"
        )
    if error.status == 429:
        return f"{what}: too many requests (429); try again later, or set HF_TOKEN"
    return (
        f"{what} cannot be fetched ({error}); try again later, set HF_ENDPOINT to a mirror, or run "
        f"`{_command(entry)}` where there is a network and copy {cache_folder()}"
    )


def no_room(what: str, error: OSError, size: int) -> str:
    """Return the message for a file of this size that cannot be written to the cache."""
    return (
        f"{what} cannot be kept below {cache_folder()}: {os.strerror(error.errno or 0)}; make room for "
        f"{size / 1e6:.1f} MB, or set CIFAR_ZOO_HOME to another folder"
    )


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
        address: String. `hf://ORG/NAME@COMMIT` of a file from any repository of the hub; empty for one of the manifest.
    """

    path: Path
    bytes: int
    problem: str
    address: str = ""


def cached_files(names: Collection[str] = ()) -> list[CachedFile]:
    """Return the files in the cache, of the given networks or by default of all.

    Only what has the name of a file of the cache is one: CIFAR_ZOO_HOME may be a folder that holds other things.
    """
    entries = {_file_name(entry): entry for tags in read_manifest().values() for entry in tags.values()}
    found = []
    for path in _in_cache(_CACHED, names):
        remote = re.fullmatch(_REMOTE, path.name)
        address = f"hf://{remote['org']}/{remote['name']}@{remote['commit']}" if remote else ""
        with contextlib.suppress(FileNotFoundError):  # another process has just removed it
            if entry := entries.get(path.name):
                problem = entry.difference(path)
            else:
                problem = _difference(path, remote["hash"]) if remote else "is not in the manifest"
            found.append(CachedFile(path, path.stat().st_size, problem, address))
    return found


def _difference(path: Path, start: str) -> str:
    """Return how a file differs from the one whose hash, SHA-256 or that of Git, starts like this, or ""."""

    def difference(content: bytes) -> str:
        hashes = hashlib.sha256(content).hexdigest(), git_hash(content)
        return "" if any(each.startswith(start) for each in hashes) else f"has another hash than {start}..."

    return read_expected(path, path.stat().st_size, difference)[1]


def clear_cache(names: Collection[str] = ()) -> list[CachedFile]:
    """Remove files from the cache, of the given networks or by default of all, and return those removed."""
    removed = cached_files(names)
    for file in removed:
        file.path.unlink(missing_ok=True)
    for path in _in_cache(rf"\.{_CACHED}\.(lock|.*\.tmp)", names):  # of processes that were killed
        if path.suffix == ".lock":
            path.unlink(missing_ok=True)
        else:
            remove_abandoned(path.with_name(path.name.partition(".weights.h5")[0].removeprefix(".") + ".weights.h5"))
    return removed


def _in_cache(pattern: str, names: Collection[str]) -> list[Path]:
    """Return the files in the cache folder whose names match a pattern, of some networks if any are named."""

    def network(name: str) -> str:
        remote = re.fullmatch(_REMOTE, name)
        return remote["network"] if remote else name.split(".")[0]

    return [
        path
        for path in sorted(cache_folder().glob("*"))
        if re.fullmatch(pattern, path.name)
        and (not names or network(path.name.removeprefix(".")) in names)
        and path.is_file()
    ]
