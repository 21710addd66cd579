"""Downloads of files whose size and hash are known, with bounds on their size and time."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cifar_zoo.errors import CifarZooError

if TYPE_CHECKING:
    from huggingface_hub.utils import tqdm

_log = logging.getLogger(__name__)

ATTEMPTS = 4
PAUSE = 1.0  # seconds before the second attempt; doubles with each further attempt
LONGEST_PAUSE = 60.0  # seconds; if the server asks for more, the download fails
# Each part of a body, the first one with the headers, must come in this time, which bounds the time for the whole file.
PATIENCE = 30.0  # seconds
PART = 300_000  # bytes
_LONGEST_REASON = 300  # characters of what another library says of an error


class DownloadError(Exception):
    """A file cannot be downloaded. The message is one line that gives the reason.

    Attributes:
        status: Integer or None. Status of the server's response, if it is not that of a success.
        headers: Mapping of the headers of this response.
        wrong_file: Boolean. Whether the server sent another file than the expected one.
    """

    def __init__(
        self, reason: str, status: int | None = None, headers: Mapping[str, str] | None = None, wrong_file: bool = False
    ) -> None:
        super().__init__(reason)
        self.status, self.headers, self.wrong_file = status, headers or {}, wrong_file


def fetch(url: str, size: int, difference: Callable[[bytes], str], headers: Mapping[str, str] | None = None) -> bytes:
    """Download a file into memory. An attempt that fails is repeated, and goes on where the one before it ended.

    No more than `size` bytes are read, and nothing that the server sends is unpacked. The time is bounded: a server
    that sends less than 10 kB a second is given up after 30 seconds, so that 10 MB take at most 17 minutes an attempt.

    Args:
        url: URL of the file.
        size: Integer. Size of the file in bytes.
        difference: Function that returns how some content of this size differs from the file, "" if it does not.
        headers: Mapping of the headers to send, to no host but that of the URL if one is `authorization`.

    Returns: The content of the file.

    Raises:
        CifarZooError: If an environment variable of huggingface_hub, whose HTTP client is used, is malformed.
        DownloadError: If the file cannot be downloaded.
    """
    from anyio.from_thread import start_blocking_portal

    check_client()
    content = bytearray()
    with _progress_bar(url, size) as bar:
        for attempt in range(ATTEMPTS):
            try:
                # An event loop can stop waiting for anything, so that the deadline holds for headers as well. It has a
                # thread of its own, since in a notebook this thread has an event loop already.
                with start_blocking_portal() as portal:
                    portal.call(_receive, url, size, headers or {}, content, bar)
                whole = bytes(content)
                if problem := difference(whole):
                    content.clear()
                    raise DownloadError(f"the download {problem}", wrong_file=True)
                return whole
            except Exception as error:  # of httpx or httpx2, whichever huggingface_hub uses, and of what is below these
                failure = error if isinstance(error, DownloadError) else DownloadError(_reason(error))
            pause = _pause(failure, attempt)
            if pause is None:
                raise failure
            _log.warning("%s: %s; trying again in %g s", url.rpartition("/")[2], failure, pause)
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


async def _receive(url: str, size: int, headers: Mapping[str, str], content: bytearray, bar: tqdm) -> None:
    """Append to `content` what it lacks of a file."""
    import anyio
    from huggingface_hub import constants, get_async_session

    if len(content) == size:
        return
    headers = {**headers, "accept-encoding": "identity"}
    if content:
        headers["range"] = f"bytes={len(content)}-"
    with anyio.move_on_after(PATIENCE) as limit:
        async with get_async_session() as client:
            client.event_hooks = {}  # those of huggingface_hub would read and unpack the body of an error
            timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
            async with client.stream("GET", url, headers=headers, timeout=timeout) as response:
                status = response.status_code
                if status not in (200, 206):
                    raise DownloadError(f"{status} {response.reason_phrase}".strip(), status, response.headers)
                if status == 200:
                    content.clear()
                due = len(content) + PART
                async for part in response.aiter_raw():
                    content += part
                    if len(content) > size:
                        content.clear()
                        raise DownloadError(f"the download has more than {size:,} bytes", wrong_file=True)
                    if len(content) >= due:
                        due = len(content) + PART
                        limit.deadline = anyio.current_time() + PATIENCE
                    bar.update(len(content) - bar.n)
    if limit.cancelled_caught:
        raise DownloadError(f"less than {PART:,} bytes came in {PATIENCE:g} seconds")
    if (length := len(content)) < size:
        content.clear()
        raise DownloadError(f"the download has {length:,} bytes instead of {size:,}", wrong_file=True)


def check_client() -> None:
    """Raise CifarZooError if huggingface_hub cannot be imported because of a malformed environment variable."""
    try:
        from huggingface_hub import constants

        if constants.HF_HUB_DOWNLOAD_TIMEOUT < 0:
            raise ValueError("a timeout cannot be negative")
    except ValueError as error:  # it reads its variables when it is imported
        timeouts = [f"{name}={value!r:.40}" for name, value in os.environ.items() if re.match("HF_.*TIMEOUT", name)]
        reason = str(error).rpartition("@")[2]  # without a password
        raise CifarZooError(
            f"an environment variable of huggingface_hub is malformed ({reason}); correct "
            f"{', '.join(timeouts) or 'HF_ENDPOINT'}"
        ) from None


def _progress_bar(url: str, size: int) -> tqdm:
    """Return a progress bar, which is shown on a terminal only."""
    from huggingface_hub.utils import tqdm

    return tqdm(total=size, unit="B", unit_scale=True, desc=url.rpartition("/")[2], disable=None)


def _reason(error: Exception) -> str:
    """Return the reason of an error in one line: that of the system, such as a refused connection, if there is one."""
    below: BaseException | None = error
    while below is not None and not (isinstance(below, OSError) and below.strerror):
        below = below.exceptions[0] if isinstance(below, BaseExceptionGroup) else below.__cause__ or below.__context__
    return str(below or error).partition("\n")[0].strip()[:_LONGEST_REASON] or type(error).__name__


def _pause(error: DownloadError, attempt: int) -> float | None:
    """Return the seconds to wait before the next attempt, or None if another attempt cannot help."""
    if attempt == ATTEMPTS - 1:
        return None
    if error.status is not None and error.status not in (408, 429) and error.status < 500:
        return None
    asked = error.headers.get("retry-after", "")
    pause = max(PAUSE * 2**attempt, float(asked) if asked.isdecimal() and len(asked) < 10 else 0.0)
    return pause if pause <= LONGEST_PAUSE else None
