"""Who may do what: tokens, roles, forms of other sites, guesses, and the log of all that."""

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection

import httpx
import pytest

from tests.console.serving import serving
from tests.console.web.conftest import EVENT, make_token

PAGE = {"Accept": "text/html"}
PAGES = (
    "/events",
    f"/events/{EVENT}",
    f"/events/{EVENT}/status",
    f"/events/{EVENT}/ground.geojson",
    f"/events/{EVENT}/sizes.png",
    f"/events/{EVENT}/live",
    f"/events/{EVENT}/review/queue",
    f"/events/{EVENT}/susceptibility",
    f"/events/{EVENT}/susceptibility/why?lon=11.58&lat=44.33",
    f"/events/{EVENT}/versions/1/gpkg",
    f"/events/{EVENT}/versions/1/tiles/12/2180/1484",
    "/ask",
    "/ask/answer.csv?question=SELECT%201",
)
FOR_OPERATORS = ("/register", "/log")
WRITES = {
    **{f"/events/{EVENT}/{act}": "operator" for act in ("hold", "cancel", "close", "respond")},
    "/register/preview": "operator",
    "/register": "operator",
    f"/events/{EVENT}/review": "reviewer",
    f"/events/{EVENT}/review/publish": "reviewer",
}


@contextmanager
def logged_in(address, token):
    """A client with the cookie a browser gets."""
    with httpx.Client(base_url=address, headers=PAGE, timeout=60) as client:
        assert client.post("/login", data={"token": token}).status_code == 303
        yield client


def csrf_of(client):
    return re.search(r'data-csrf="(\w+)"', client.get("/events").text)[1]


@pytest.mark.parametrize("path", PAGES + FOR_OPERATORS)
def test_nothing_is_shown_without_a_token(address, path):
    browser = httpx.get(address + path, headers=PAGE)
    assert browser.status_code == 303
    assert browser.headers["location"].startswith("/login?next=")
    script = httpx.get(address + path)
    assert script.status_code == 401
    assert "Bearer" in script.json()["detail"]


@pytest.mark.parametrize("path", FOR_OPERATORS)
def test_what_is_an_operators_is_nobody_elses(clients, path):
    assert clients["operator"].get(path).status_code == 200
    for role in ("viewer", "reviewer"):
        answer = clients[role].get(path)
        assert answer.status_code == 403
        assert "needs an operator" in answer.json()["detail"]


@pytest.mark.parametrize("path", WRITES)
def test_a_viewer_can_write_nothing(clients, settings, path):
    before = stored()
    body = {"json": {"action": "confirm", "number": 1}} if path.endswith("/review") else {}
    lesser = ("viewer", "reviewer") if WRITES[path] == "operator" else ("viewer",)
    for role in lesser:
        assert clients[role].post(path, **body).status_code == 403
    assert httpx.post(str(clients["viewer"].base_url) + path, **body).status_code == 401
    assert stored() == before


def stored():
    """How much there is of everything a person can change."""
    from sqlalchemy import text

    from flows.world import open_world

    tables = ("event_history", "review", "inventory", "response_request", "audit", "token")
    with open_world().engine.connect() as connection:
        return [connection.scalar(text(f"SELECT count(*) FROM scarp.{one}")) for one in tables]


def test_a_form_of_another_site_does_nothing(address, tokens):
    with logged_in(address, tokens["operator"]) as client:
        path = f"/events/{EVENT}/hold"
        word = csrf_of(client)
        for headers, form in (
            ({}, {}),
            ({}, {"csrf": "guessed"}),
            ({"Origin": "https://elsewhere.example"}, {"csrf": word}),
            ({"Origin": "null"}, {"csrf": word}),
        ):
            answer = client.post(path, data=form, headers=headers)
            assert answer.status_code == 403
            assert "page of this console" in answer.text
        held = client.post(path, data={"csrf": word}, headers={"Origin": address})
        assert held.status_code == 303
        assert client.post(f"/events/{EVENT}/release", data={"csrf": word}).status_code == 303


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(address, tokens):
    answer = httpx.post(f"{address}/login", data={"token": tokens["viewer"], "next": "/ask"})
    cookie = answer.headers["set-cookie"].lower()
    assert answer.headers["location"] == "/ask"
    assert "httponly" in cookie and "samesite=strict" in cookie and "max-age=43200" in cookie


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_a_login_leads_nowhere_else(address, tokens, next):
    answer = httpx.post(f"{address}/login", data={"token": tokens["viewer"], "next": next})
    assert answer.headers["location"] == "/"


def test_an_expired_token_says_since_when(address, settings):
    from sqlalchemy import text

    from flows.world import open_world

    token = make_token("late", "operator")
    with logged_in(address, token) as client:
        assert client.get("/events").status_code == 200
        with open_world().engine.begin() as connection:
            past = datetime.now(UTC) - timedelta(minutes=5)
            expire = text("UPDATE scarp.token SET expires_at = :past WHERE name = 'late'")
            connection.execute(expire, {"past": past})
        answer = client.get("/events")
    assert answer.status_code == 401
    assert f"this token expired on {past:%Y-%m-%d}" in answer.text
    assert 'name="token"' in answer.text
    with logged_in(address, make_token("late", "viewer")) as client:
        assert client.get("/events").status_code == 200


def test_a_token_taken_back_ends_sessions_at_once(address, settings):
    from flows.world import open_world
    from tasks.access.tokens import revoke_token

    with logged_in(address, make_token("leaver", "reviewer")) as client:
        with open_world().engine.begin() as connection:
            revoke_token(connection, "leaver", datetime.now(UTC))
        assert "was taken back" in client.get("/events").text


def test_logging_out_forgets_the_token(address, tokens):
    with logged_in(address, tokens["viewer"]) as client:
        assert client.post("/logout", data={"csrf": csrf_of(client)}).status_code == 303
        assert client.get("/events").status_code == 303


def test_guesses_are_few(app, tokens):
    from console.web import access

    access._guesses.storage.reset()
    with serving(app) as address:
        answers = [
            httpx.post(f"{address}/login", data={"token": f"guess {number}"}, headers=PAGE)
            for number in range(12)
        ]
        assert [one.status_code for one in answers] == [401] * 10 + [429] * 2
        assert "Wait a minute" in answers[-1].text
        assert answers[-1].headers["retry-after"] == "60"
    access._guesses.storage.reset()


def test_every_change_is_in_the_log_with_who_and_how_it_ended(clients):
    clients["operator"].post(f"/events/{EVENT}/hold", data={"reason": "the second image"})
    refused = clients["operator"].post(f"/events/{EVENT}/close", data={})
    assert refused.status_code == 400
    clients["operator"].post(f"/events/{EVENT}/release", data={})
    rows = clients["operator"].get("/log", headers=PAGE).text.split("<tr>")[2:5]
    said = [re.sub(r"<[^>]+>|\s+", " ", row) for row in rows]
    assert "operator" in said[0] and "release" in said[0] and "done" in said[0]
    assert "close" in said[1] and "refused" in said[1] and "only one that is" in said[1]
    assert "hold" in said[2] and "the second image" in said[2]


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (f"/events/{EVENT}/hold", {"reason": "a\0b"}),
        (f"/events/{EVENT}/respond", {"source": "a\0b"}),
        ("/register", {"described": '{"comcat": "a\\u0000b"}'}),
    ],
)
def test_a_text_that_cannot_be_stored_is_told(clients, path, form):
    answer = clients["operator"].post(path, data=form)
    assert answer.status_code == 400
    assert "cannot contain NUL" in answer.json()["detail"]


def test_the_service_is_closed_where_it_is_not_open(settings, tokens):
    from console.service.app import create_app
    from console.web.site import create_site
    from flows.world import open_world
    from infra.roles import role_url

    service = create_app(role_url(settings, "reader"), open_world().products)
    with serving(create_site(service, basemap=None, open_to_read=False)) as address:
        for path in ("/", "/collections", f"/products/{EVENT}/map.png"):
            assert httpx.get(address + path).status_code == 401
            assert httpx.get(address + path, auth=("qgis", tokens["viewer"])).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Host": "evil.example"},
    ],
)
def test_what_is_open_to_this_machine_is_not_to_who_asks_through_it(address, tokens, headers):
    assert httpx.get(f"{address}/collections").status_code == 200
    assert httpx.get(f"{address}/collections", headers=headers).status_code == 401
    known = ("qgis", tokens["viewer"])
    assert httpx.get(f"{address}/collections", headers=headers, auth=known).status_code == 200


def test_a_password_that_a_browser_sends_by_itself_changes_nothing(address, tokens):
    before = stored()
    answer = httpx.post(
        f"{address}/events/{EVENT}/hold",
        auth=("", tokens["operator"]),
        headers={"Origin": "https://evil.example"},
        data={"reason": "another site"},
    )
    assert answer.status_code == 403 and "page of this console" in answer.json()["detail"]
    assert stored() == before


def test_every_answer_forbids_what_does_not_come_from_here(address, clients):
    for path in ("/login", "/events", "/collections", f"/products/{EVENT}/map.png", "/nowhere"):
        headers = clients["viewer"].get(path, headers=PAGE).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    report = clients["viewer"].get(f"/products/{EVENT}/report.html")
    assert "sandbox" in report.headers["content-security-policy"]


def test_a_hundred_megabytes_are_refused_before_they_are_read(address, tokens):
    where = HTTPConnection(address.removeprefix("http://"), timeout=30)
    where.putrequest("POST", "/register/preview")
    where.putheader("Authorization", f"Bearer {tokens['operator']}")
    where.putheader("Content-Type", "multipart/form-data; boundary=x")
    where.putheader("Content-Length", "100000000")
    where.endheaders()
    answer = where.getresponse()
    assert answer.status == 413
    assert "20 MB" in answer.read().decode()
    where.close()
