"""Whatever a server sends: the right file, or one error, after a bounded number of bytes and a bounded time."""

import hashlib
import os
import socket
import threading
import time

import pytest
from generated import examples

from cifar_zoo import CifarZooError, download
from cifar_zoo.weights import hub

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies
CONTENT = bytes(range(256)) * 4


class RawServer:
    """Answers every connection with the same bytes, which need not be HTTP, and counts those that were taken."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.answer, self.connections = b"", 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:  # closed
                return
            self.connections += 1
            with connection:
                try:
                    connection.recv(65536)
                    connection.sendall(self.answer)
                except OSError:  # the client hung up
                    pass


@pytest.fixture
def server():
    server = RawServer()
    yield server
    server.socket.close()


def answers():
    """Strategy: HTTP answers with wrong and contradictory parts, and any bytes."""
    size = len(CONTENT)
    numbers = st.sampled_from([0, 1, size, size - 1, size + 1, -1, 10**9, 10**30, "", "x", "1, 1", "1e3"]).map(str)
    line = st.sampled_from(
        ["HTTP/1.1 200 OK", "HTTP/1.1 206 Partial", "HTTP/1.0 200", "HTTP/1.1 302 Found", "HTTP/1.1 500 \x1b[31m",
         "HTTP/1.1 100 Continue", "HTTP/1.1 101 Switching", "HTTP/1.1 404 Not Found", "HTTP/9.9 999 ?", "ICY 200", ""]
    )  # fmt: skip
    header = st.one_of(
        numbers.map("Content-Length: {}".format),
        numbers.map("Retry-After: {}".format),
        numbers.map("Content-Range: bytes {}".format),
        st.sampled_from(["chunked", "gzip, chunked", "identity", "?"]).map("Transfer-Encoding: {}".format),
        st.sampled_from(["gzip", "br", "zstd", "deflate", "?"]).map("Content-Encoding: {}".format),
        st.sampled_from(
            ["/", "", "//", "http://", "file:///etc/passwd", "http://[", "data:,x", "\xe9", "?" * 9000]
        ).map("Location: {}".format),
        st.text(st.characters(max_codepoint=255), max_size=20),
    )
    bodies = st.sampled_from([b"", CONTENT, CONTENT[:-1], CONTENT + b"?", bytes(size), b"\x1f\x8b" + bytes(size)])
    chunk = st.tuples(numbers, bodies).map(lambda pair: f"{pair[0]}\r\n".encode() + pair[1] + b"\r\n")
    chunks = st.lists(chunk, max_size=3).map(lambda parts: b"".join(parts) + b"0\r\n\r\n")
    right = b"%x\r\n%b\r\n0\r\n\r\n" % (size, CONTENT)

    def answer(line, headers, body):
        return "\r\n".join([line, *headers, "", ""]).encode("latin-1") + body

    return st.binary(max_size=200) | st.builds(
        answer, line, st.lists(header, max_size=4), bodies | chunks | st.just(right)
    )


@pytest.fixture
def patience(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(download, "PATIENCE", 1.0)
    monkeypatch.setattr(download, "ATTEMPTS", 2)


def difference(content):
    return "" if hashlib.sha256(content).digest() == hashlib.sha256(CONTENT).digest() else "is another one"


def fuzz_servers(server, number):
    ends = {"right": 0, "refused": 0}

    @examples(number)
    @hypothesis.given(answers())
    @hypothesis.example(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(CONTENT), CONTENT))
    def run(answer):
        server.answer, server.connections = answer, 0
        start = time.monotonic()
        try:
            assert download.fetch(f"{server.url}/a/file", len(CONTENT), difference) == CONTENT
            ends["right"] += 1
        except download.DownloadError as error:
            ends["refused"] += 1
            assert 0 < len(str(error)) < 400 and "\n" not in str(error)
        assert server.connections <= 2 * 21 and time.monotonic() - start < 30  # 20 redirects

    run()
    assert min(ends.values()) > 0


def test_a_few_answers(server, patience):
    fuzz_servers(server, 25)


@pytest.mark.full
def test_answers(server, patience):
    fuzz_servers(server, 400)


def test_headers_without_end(server, patience):
    server.answer = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10**8
    with pytest.raises(download.DownloadError) as error:
        download.fetch(f"{server.url}/a/file", len(CONTENT), difference)
    assert len(str(error.value)) < 400


SECRET = "s3cr3t"
SCHEMES = ["http://", "https://", "HTTP://", "ftp://", "//", "", "http:", "http://["]
USERS = ["", *(user.format(SECRET) for user in ("u:{}@", "{}@", "u:{}@@", "u:{}/@", "u:{}#@", ":{}\u2100@", "u:{} @"))]
HOSTS = ["host", "host:80", "host:", "host:x", "host:70000", "[::1]", "[::1", "h\u00f6st", "", "127.1", " "]
PATHS = ["", "/", "/mirror", "/mirror/", "?", "?a=b", "#", "\n", "/\x1b", "/a b", "//"]


@examples(300)
@hypothesis.given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
    | st.tuples(*map(st.sampled_from, (SCHEMES, USERS, HOSTS, PATHS))).map("".join)
)
def test_any_endpoint(value):
    """It is a URL without a password, or refused in one line without a password."""
    before = os.environ.get("HF_ENDPOINT")
    os.environ["HF_ENDPOINT"] = value
    try:
        url, credentials = hub.endpoint()
        assert url.lower().startswith(("http://", "https://")) and "@" not in url and url.isprintable()
        assert SECRET not in url and set(credentials) <= {"authorization"}
        assert (SECRET in value) == bool(credentials)
    except CifarZooError as error:
        assert "HF_ENDPOINT must be a URL" in str(error) and SECRET not in str(error)
        assert str(error).isprintable() and len(str(error)) < 400
    finally:
        os.environ.pop("HF_ENDPOINT")
        if before is not None:
            os.environ["HF_ENDPOINT"] = before
