"""Upload of files to a repository of the hub, in one commit whose hashes are verified."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import git_hasher
from cifar_zoo.weights.hub import endpoint

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_WHAT_TO_DO = {  # by the status code of the hub's response
    401: "the token is not accepted; make one with write access at {hub}/settings/tokens and set HF_TOKEN to it",
    403: "the token has no write access there; use one that has, from {hub}/settings/tokens, or another --repo-id",
    404: "the token cannot see the repository; check --repo-id and the token's permissions at {hub}/settings/tokens",
    412: "the repository was changed in the meantime; run the command again",
    413: "the hub does not accept files of this size",
    429: "too many requests; wait {wait}, then run the command again",
}


@dataclass(frozen=True)
class Content:
    """The content of a file, with the hashes that the hub reports: SHA-256 for large files, Git's for small ones."""

    source: Path | bytes
    size: int
    sha256: str
    blob: str

    @classmethod
    def of(cls, source: Path | bytes) -> Content:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        sha256, blob = hashlib.sha256(), git_hasher(size)
        if isinstance(source, bytes):
            sha256.update(source)
            blob.update(source)
        else:
            with source.open("rb") as file:
                while part := file.read(2**20):
                    sha256.update(part)
                    blob.update(part)
        return cls(source, size, sha256.hexdigest(), blob.hexdigest())


def upload(
    repo_id: str, files: dict[str, Content], *, token: str | None = None, private: bool = False
) -> tuple[str, list[str]]:
    """Add files to a repository in one commit. Only new and changed files are uploaded, and other files are kept.

    Args:
        repo_id: String. "ORG/NAME" of the repository, which is created if it does not exist.
        files: Dict from the path in the repository to the `Content`.
        token: String. Token with write access. Defaults to HF_TOKEN, or that of `hf auth login`.
        private: Boolean. Whether the repository must be private.

    Returns: A tuple of the commit and the list of the paths of new and changed files.

    Raises:
        CifarZooError: If the hub cannot be reached, refuses the request or has other content after the upload.
    """
    hub, credentials = endpoint()  # before huggingface_hub is imported, which fails for malformed variables
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import HTTPError

    try:
        token = (token or get_token() or "").strip()
        if not token:
            raise CifarZooError(f"no token; make one with write access at {hub}/settings/tokens and set HF_TOKEN to it")
        api = HfApi(endpoint=hub, token=token, library_name="cifar_zoo", headers=credentials)
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        head = api.model_info(repo_id)
        if private and not head.private:
            raise CifarZooError(
                f"{repo_id} already exists and is public; make it private on the hub, or omit --private"
            )
        commit = str(head.sha)
        changed = _differing(api, repo_id, commit, files)
        if changed:
            operations = [CommitOperationAdd(path, files[path].source) for path in changed]
            done = api.create_commit(
                repo_id, operations, commit_message=f"Publish {len(changed)} files", parent_commit=commit
            )
            commit = done.oid
            if wrong := _differing(api, repo_id, commit, files):
                raise CifarZooError(
                    f"{repo_id}: commit {commit} differs from the uploaded files in {', '.join(wrong)}; run the "
                    "command again"
                )
    except CifarZooError:
        raise
    except (HTTPError, OSError, ValueError, RuntimeError, KeyError) as error:  # huggingface_hub raises all of these
        raise CifarZooError(_explain(error, repo_id, hub)) from error
    return commit, changed


def _differing(api: HfApi, repo_id: str, commit: str, files: dict[str, Content]) -> list[str]:
    """Return the paths that are missing in a commit or have other content there."""
    from huggingface_hub.hf_api import RepoFile

    there = {
        item.path: item.lfs.sha256 if item.lfs else item.blob_id
        for item in api.list_repo_tree(repo_id, revision=commit, recursive=True)
        if isinstance(item, RepoFile)
    }
    return [path for path, content in files.items() if there.get(path) not in (content.sha256, content.blob)]


def _explain(error: Exception, repo_id: str, hub: str) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled

    cause: BaseException = error
    while not hasattr(cause, "response") and cause.__cause__:  # the hub's response may be in a wrapped error
        cause = cause.__cause__
    response = getattr(cause, "response", None)
    if isinstance(error, OfflineModeIsEnabled):
        advice = "HF_HUB_OFFLINE is set; unset it to publish"
    elif response is None:
        advice = "there is no response; check the network and HF_ENDPOINT, then run the command again"
    elif response.status_code in _WHAT_TO_DO:
        seconds = response.headers.get("Retry-After")
        wait = f"{seconds} seconds" if seconds else "some minutes"
        advice = _WHAT_TO_DO[response.status_code].format(hub=hub, wait=wait)
    elif response.status_code >= 500:
        advice = "the hub reports an internal error; run the command again later"
    else:
        advice = "the hub refuses the request"
    reason = " ".join(str(cause).split()) or type(cause).__name__
    return f"{repo_id} cannot be published at {hub}: {advice} ({reason}). The manifest is unchanged."
