"""Networks and weights in any repository of the Hugging Face hub: `hf://ORG/NAME`.

Nobody vouches for these files. Their hash is that which the repository itself states, so a download is whole; what is
in them is read as from any other file of a stranger, as numbers only.
"""

from __future__ import annotations

import glob
import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from cifar_zoo.download import DownloadError, fetch
from cifar_zoo.errors import CifarZooError, shown
from cifar_zoo.files import LARGEST_TEXT, git_hash
from cifar_zoo.weights.hub import endpoint, find_cached, is_offline, keep, no_room, place, remote_name, request_headers

PREFIX = "hf://"
WEIGHTS = "model.weights.h5"  # of a repository with one network, as `cifar_zoo.push_to_hub` makes it
CONFIG = "cifar_zoo.json"
_LARGEST = 4 * 2**30  # bytes of a weights file; those of senet154 in float32 have 2.3 GB
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"


class Address(NamedTuple):
    """The parts of `hf://ORG/NAME[/TAG][@REVISION]`.

    Attributes:
        repo_id: "ORG/NAME" of the repository.
        tag: The tag of the weights, in a repository of `cifar-zoo publish` that has several; or None.
        revision: A branch, tag or commit of the repository.
    """

    repo_id: str
    tag: str | None
    revision: str


class _File(NamedTuple):
    """A file of a repository: its path, its size and its hash there, SHA-256 or that of Git."""

    path: str
    size: int
    hash: str

    def difference(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest() if len(self.hash) == 64 else git_hash(content)
        return "" if digest == self.hash else f"has another hash than the repository states, {self.hash[:16]}"


def is_address(value: Any) -> bool:
    """Whether a value is an address of the hub."""
    return isinstance(value, str) and value.startswith(PREFIX)


def parse_address(address: str) -> Address:
    """Return the parts of an address.

    Raises:
        CifarZooError: If it is not of the form `hf://ORG/NAME[/TAG][@REVISION]`.
    """
    found = re.fullmatch(rf"hf://({_PART}/{_PART})(?:/({_PART}))?(?:@([\w./-]+))?", address)
    if not found:
        raise CifarZooError(f"{shown(address)} is no address of the form hf://ORG/NAME, hf://ORG/NAME/TAG@REVISION")
    repo_id, tag, revision = found.groups()
    return Address(repo_id, tag, revision or "main")


def download_weights(address: str, network: str) -> Path:
    """Return the path of the weights of a network from a repository, in the cache.

    Args:
        address: String, as `parse_address` takes it.
        network: String. Registered name of the network.

    Raises:
        CifarZooError: If there are no such weights, or several, or they cannot be downloaded.
    """
    where = parse_address(address)
    commit, files = _list(where)
    chosen = [files[WEIGHTS]] if WEIGHTS in files and where.tag is None else []
    if not chosen:
        published = re.compile(rf"{re.escape(network)}/([^/]+)/[^/]+\.weights\.h5")
        by_tag = {match[1]: file for path, file in files.items() if (match := published.fullmatch(path))}
        chosen = [file for tag, file in by_tag.items() if where.tag in (None, tag)]
        if len(chosen) != 1:
            tags = ", ".join(f"hf://{where.repo_id}/{tag}" for tag in by_tag) or f"no {WEIGHTS} and no {network}/"
            raise CifarZooError(f"{address} does not name one weights file of {network}; there is {tags}")
    (file,) = chosen
    if file.size > _LARGEST:
        raise CifarZooError(f"{address}: {file.path} has {file.size:,} bytes; at most {_LARGEST:,} are downloaded")
    anywhen = remote_name(where.repo_id, "*", glob.escape(network), file.hash)  # of any commit with the same file
    if found := find_cached(anywhen, file.size, file.difference):
        return found[0]
    name = remote_name(where.repo_id, commit, network, file.hash)
    try:
        path = place(name, file.size)
        keep(_download(where, commit, file), path)
    except OSError as error:
        raise CifarZooError(no_room(address, error, file.size)) from error
    return path


def read_config(address: str) -> dict[str, Any]:
    """Return the description of the network in a repository that `cifar_zoo.push_to_hub` made.

    Returns:
        A dict with `network`, its registered name; `classes` and `input_shape`, its options; `class_names`, a list of
        strings or None; and `weights_bytes`, the size of its weights file.

    Raises:
        CifarZooError: If there is no such repository, it holds no network, or its description is damaged.
    """
    where = parse_address(address)
    commit, files = _list(where)
    if CONFIG not in files or WEIGHTS not in files:
        raise CifarZooError(
            f"{address} has no {CONFIG} with {WEIGHTS}, which say what network it holds; if `cifar-zoo publish` made "
            f'it, name one: create_model("resnet20", weights="{address}")'
        )
    if files[CONFIG].size > LARGEST_TEXT:
        raise CifarZooError(f"{address}: {CONFIG} has {files[CONFIG].size:,} bytes, more than it can need")
    try:
        config = json.loads(_download(where, commit, files[CONFIG]))
        network, classes, shape, names = (config[key] for key in ("network", "classes", "input_shape", "class_names"))
        whole = isinstance(network, str) and type(classes) is int and [type(side) for side in shape] == [int] * 3
        if names is not None:
            whole = whole and len(names) == classes and all(isinstance(name, str) for name in names)
        if not whole:
            raise ValueError("its fields are not those that push_to_hub writes")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CifarZooError(f"{address}: {CONFIG} is damaged ({error!s:.200})") from error
    return {
        "network": network,
        "classes": classes,
        "input_shape": tuple(shape),
        "class_names": names,
        "weights_bytes": files[WEIGHTS].size,
    }


def _list(where: Address) -> tuple[str, dict[str, _File]]:
    """Return the commit of a revision and the files in it by path."""
    if is_offline():
        raise CifarZooError(f"hf://{where.repo_id} needs the hub, and HF_HUB_OFFLINE forbids it")
    hub, credentials = endpoint()  # before huggingface_hub is imported, which fails for malformed variables
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.hf_api import RepoFile

    # The token is one of the headers; `token=False` keeps the client from looking for another.
    api = HfApi(endpoint=hub, token=False, library_name="cifar_zoo", headers=request_headers(credentials))
    try:
        commit = str(api.model_info(where.repo_id, revision=where.revision, timeout=30).sha)
        items = api.list_repo_tree(where.repo_id, revision=commit, recursive=True)
        files = [item for item in items if isinstance(item, RepoFile)]
    except (HTTPError, OSError, ValueError, RuntimeError, KeyError) as error:  # huggingface_hub raises all of these
        status = getattr(getattr(error, "response", None), "status_code", None)
        advice = {
            401: "it does not exist, or HF_TOKEN has no access to it",
            403: "HF_TOKEN has no access to it",
            404: f"it or its revision {where.revision!r} does not exist",
        }.get(status or 0, "try again later, or set HF_ENDPOINT to a mirror")
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CifarZooError(f"hf://{where.repo_id} cannot be read at {hub}: {advice} ({reason})") from error
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise CifarZooError(f"hf://{where.repo_id} cannot be read at {hub}: {shown(commit)} is no commit")
    return commit, {
        file.path: _File(file.path, file.size, file.lfs.sha256 if file.lfs else file.blob_id) for file in files
    }


def _download(where: Address, commit: str, file: _File) -> bytes:
    hub, credentials = endpoint()
    url = f"{hub}/{where.repo_id}/resolve/{commit}/{file.path}"
    try:
        return fetch(url, file.size, file.difference, request_headers(credentials))
    except DownloadError as error:
        raise CifarZooError(
            f"hf://{where.repo_id}: {file.path} cannot be fetched ({error}); try again later"
        ) from error
