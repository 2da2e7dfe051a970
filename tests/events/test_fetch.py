"""A true server says what a polite watcher asks of it."""

import gzip
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tasks.errors import FeedError, TransientError
from tasks.events.fetch import download, fetch, may_follow, unpacked
from tasks.events.reports import WatchState

NOW = datetime(2024, 5, 1, tzinfo=UTC)
LONG_AGO, A_DATE = "Mon, 01 Apr 2024 00:00:00 GMT", "Wed, 01 May 2024 00:00:00 GMT"


@pytest.fixture
def server():
    """Answers by path; `asked` holds the headers of each request."""
    answers, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(dict(self.headers))
            status, headers, body = answers[self.path]
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    running.answers, running.asked = answers, asked
    running.url = f"http://127.0.0.1:{running.server_port}"
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_what_has_a_tag_is_asked_for_by_its_tag(server):
    server.answers["/f"] = (200, {"ETag": '"a"', "Last-Modified": LONG_AGO, "Date": A_DATE}, b"1")
    first = fetch(server.url + "/f", WatchState(""), NOW)
    assert first.content == b"1" and first.state.looked_at == NOW
    server.answers["/f"] = (304, {}, b"")
    second = fetch(server.url + "/f", first.state, NOW)
    assert second.content is None and second.state.etag == '"a"'
    assert server.asked[1]["If-None-Match"] == '"a"'
    assert "If-Modified-Since" not in server.asked[1]


def test_a_time_of_change_is_asked_by_once_it_is_old_enough_to_hide_nothing(server):
    server.answers["/f"] = (200, {"Last-Modified": LONG_AGO, "Date": A_DATE}, b"1")
    state = fetch(server.url + "/f", WatchState(""), NOW).state
    fetch(server.url + "/f", state, NOW)
    assert server.asked[1]["If-Modified-Since"] == LONG_AGO
    server.answers["/f"] = (200, {"Last-Modified": A_DATE, "Date": A_DATE}, b"1")
    state = fetch(server.url + "/f", state, NOW).state
    fetch(server.url + "/f", state, NOW)
    assert "If-Modified-Since" not in server.asked[3]


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, TransientError), (503, TransientError), (429, TransientError), (404, FeedError)],
)
def test_only_what_may_pass_is_worth_another_try(server, status, error):
    server.answers["/f"] = (status, {}, b"")
    with pytest.raises(error, match=f"HTTP {status}"):
        fetch(server.url + "/f", WatchState(""), NOW)


def test_nobody_at_home_is_worth_another_try():
    with pytest.raises(TransientError, match="cannot be reached"):
        fetch("http://127.0.0.1:1/f", WatchState(""), NOW)


def test_a_redirect_is_followed_on_the_same_host_only(server):
    server.answers["/old"] = (301, {"Location": "/new"}, b"")
    server.answers["/new"] = (200, {}, b"moved")
    assert fetch(server.url + "/old", WatchState(""), NOW).content == b"moved"
    server.answers["/old"] = (302, {"Location": "http://169.254.169.254/secret"}, b"")
    with pytest.raises(FeedError, match="HTTP 302"):
        fetch(server.url + "/old", WatchState(""), NOW)
    server.answers["/old"] = (302, {"Location": "/old"}, b"")
    with pytest.raises(FeedError, match="HTTP 302"):
        fetch(server.url + "/old", WatchState(""), NOW)


def test_a_file_is_read_at_every_look(tmp_path):
    path = tmp_path / "feed.json"
    path.write_bytes(b"{}")
    for url in (str(path), path.as_uri()):
        assert fetch(url, fetch(url, WatchState(""), NOW).state, NOW).content == b"{}"
    with pytest.raises(FeedError, match="No such file"):
        fetch(str(tmp_path / "other.json"), WatchState(""), NOW)


def test_a_gzipped_feed_is_unpacked_and_one_cut_short_refused():
    assert unpacked(b"{}", "feed") == b"{}"
    packed = gzip.compress(b"{}" * 1000)
    assert unpacked(packed, "feed") == b"{}" * 1000
    for broken in (packed[:-9], packed[:12] + b"?" * 20):
        with pytest.raises(FeedError, match="feed is not whole gzip"):
            unpacked(broken, "feed")


def test_a_download_that_fails_leaves_nothing(server, tmp_path):
    server.answers["/f"] = (503, {}, b"")
    with pytest.raises(TransientError):
        download(server.url + "/f", tmp_path / "grid.xml")
    assert list(tmp_path.iterdir()) == []
    server.answers["/f"] = (200, {}, b"<grid/>")
    download(server.url + "/f", tmp_path / "grid.xml")
    assert [path.name for path in tmp_path.iterdir()] == ["grid.xml"]


@pytest.mark.parametrize("in_the_way", ["kept", "kept/grid.xml/x"])
def test_a_download_that_cannot_be_written_is_tried_again_and_leaves_nothing(
    server, tmp_path, in_the_way
):
    server.answers["/f"] = (200, {}, b"<grid/>")
    (tmp_path / in_the_way).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / in_the_way).write_text("")
    with pytest.raises(TransientError, match=r"grid\.xml cannot be written \(.*\); make room"):
        download(server.url + "/f", tmp_path / "kept" / "grid.xml")
    assert not list(tmp_path.rglob(".part*"))


@pytest.mark.parametrize(
    ("href", "followed"),
    [
        ("http://feed.org/detail", True),
        ("https://feed.org/detail", True),
        ("http://feed.org:81/detail", False),
        ("http://other.org/detail", False),
        ("https://allowed.org/detail", True),
        ("file:///etc/passwd", False),
        ("http://feed.org@evil.org/", False),
        ("", False),
    ],
)
def test_links_lead_to_the_feeds_host_or_an_allowed_one(href, followed):
    assert may_follow(href, "http://feed.org/feed", ["allowed.org"]) == followed
