"""Questions in SQL: answers, files, and the second wall behind the first."""

import json

import psycopg
import pytest

from tests.console.web.conftest import EVENT, XSS

PAGE = {"Accept": "text/html"}


def asked(client, question, form="json"):
    return client.get(f"/ask/answer.{form}", params={"question": question})


def test_an_answer_is_a_table_a_map_and_a_file(clients, mapped):
    question = f"SELECT number, area_m2, geom FROM v_landslides WHERE event_id = '{EVENT}'"
    page = clients["viewer"].get("/ask", params={"question": question}, headers=PAGE)
    assert f"{mapped} rows" in page.text and 'id="map"' in page.text
    rows = asked(clients["viewer"], question).json()
    assert len(rows) == mapped and rows[0]["geom"]["type"] == "MultiPolygon"
    places = asked(clients["viewer"], question, "geojson").json()
    assert {one["properties"]["number"] for one in places["features"]} == set(range(1, mapped + 1))
    lines = asked(clients["viewer"], question, "csv").text.splitlines()
    assert lines[0] == "number,area_m2,geom" and len(lines) == mapped + 1


@pytest.mark.parametrize(
    ("number", "said"),
    [("1123671.4", "1,123,671"), ("63193.04", "63,193"), ("1.5e-9", "1.5e-09"), ("2e20", "2e+20")],
)
def test_numbers_are_written_as_people_read_them(clients, number, said):
    question = {"question": f"SELECT {number}::float8 AS number"}
    page = clients["viewer"].get("/ask", params=question, headers=PAGE)
    assert f">{said}<" in page.text


def test_times_are_in_utc_whatever_zone_the_server_is_in(clients, settings):
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'")
        (row,) = asked(clients["viewer"], "SELECT occurred_at FROM v_events").json()
        connection.execute(f"ALTER DATABASE {name} RESET timezone")
    assert row["occurred_at"] == "2023-05-16T00:00:00+00:00"


def test_every_example_of_the_page_can_be_asked(clients):
    from console.web.pages import words

    examples = words()["ask"]["example"]
    assert len(examples) > 4
    for example in examples:
        answer = asked(clients["viewer"], example["sql"])
        assert answer.status_code == 200, answer.text


def test_what_may_not_be_asked_is_said_on_the_page(clients):
    page = clients["viewer"].get("/ask", params={"question": "drop table x"}, headers=PAGE)
    assert page.status_code == 400
    assert "only SELECT may be asked" in page.text and "drop table x" in page.text


def test_a_fault_of_the_question_is_told_in_postgresqls_words(clients):
    answer = asked(clients["viewer"], "SELECT nothing_like_it FROM v_events")
    assert answer.status_code == 400
    assert 'column "nothing_like_it" does not exist' in answer.json()["detail"]
    assert "division by zero" in asked(clients["viewer"], "SELECT 1 / 0").json()["detail"]
    # By the driver's classes these are faults of the server, whose page would ask for ever.
    assert "null character" in asked(clients["viewer"], "SELECT chr(0)").json()["detail"]


def test_json_holds_every_value_of_an_answer_or_says_which_it_cannot(clients):
    question = (
        "SELECT 'NaN'::float8 AS none, '-inf'::numeric AS endless, array_agg(occurred_at) AS times,"
        " st_collect(geom) AS geom FROM v_events"
    )
    text = asked(clients["viewer"], question).text
    (row,) = json.loads(text, parse_constant=pytest.fail)
    assert (row["none"], row["endless"]) == ("nan", "-inf")
    assert row["times"] == ["2023-05-16T00:00:00+00:00"]
    places = asked(clients["viewer"], question, "geojson").text
    assert json.loads(places, parse_constant=pytest.fail)["features"][0]["properties"]["none"]
    twice = asked(clients["viewer"], "SELECT 1 AS a, 2 AS a")
    assert twice.status_code == 400 and "several columns are called a" in twice.json()["detail"]


def test_rows_end_at_the_limit_and_say_so(clients, mapped):
    from console.web.ask import ROWS_EXPORTED

    many = "SELECT a.number FROM v_landslides a, v_landslides b, v_landslides c"
    page = clients["viewer"].get("/ask", params={"question": many}, headers=PAGE)
    assert "The first 500 rows; there are more." in page.text
    assert len(asked(clients["viewer"], many).json()) == min(mapped**3, ROWS_EXPORTED)


def test_a_row_too_large_to_hold_is_refused_before_it_is_sent(clients, monkeypatch):
    from console.web import ask

    wide = (
        "WITH RECURSIVE t(x) AS (SELECT 'a' UNION ALL SELECT x || x FROM t WHERE length(x) < {0}) "
        "SELECT x FROM t, generate_series(1, 9) WHERE length(x) >= {0}"
    )
    assert "larger than 20 MB" in asked(clients["viewer"], wide.format(2**25)).json()["detail"]
    monkeypatch.setattr(ask, "LARGEST", 2**21)
    assert len(asked(clients["viewer"], wide.format(2**20)).json()) == 1


def test_a_part_of_a_question_may_be_called_as_anything_is(clients):
    shadowing = "WITH pg_user AS (SELECT 1 AS a) SELECT pg_user.a, b.a FROM pg_user, pg_user AS b"
    assert asked(clients["viewer"], shadowing, "csv").text.splitlines() == ["a,a", "1,1"]
    outside = f"SELECT * FROM pg_user, ({shadowing}) AS x"
    assert "does not exist" in asked(clients["viewer"], outside).json()["detail"]


def test_a_question_ends_at_its_limit_of_time(clients, monkeypatch):
    from console.web import ask

    monkeypatch.setattr(ask, "SECONDS", 1)
    monkeypatch.setattr(ask, "_SESSION", ask._SESSION.replace("10s", "1s"))
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    answer = asked(clients["viewer"], forever)
    assert answer.status_code == 400
    assert "longer than 1 s" in answer.json()["detail"]


def test_behind_the_first_wall_the_session_can_neither_write_nor_read_tables(settings):
    from console.web import ask

    for statement, refused in (
        ("CREATE TABLE scarp.mine (x int)", psycopg.Error),
        ("SELECT * FROM scarp.token", psycopg.errors.InsufficientPrivilege),
        ("SELECT * FROM scarp.event", psycopg.errors.InsufficientPrivilege),
        ("CREATE TEMP TABLE mine (x int)", psycopg.errors.ReadOnlySqlTransaction),
    ):
        reader = ask._reader()
        with psycopg.connect(reader, options=ask._session(reader)) as session:
            assert session.execute("SHOW statement_timeout").fetchone() == ("10s",)
            with pytest.raises(refused):
                session.execute(statement)


def test_a_spreadsheet_is_given_no_formula(clients):
    answer = asked(clients["viewer"], "SELECT '=1+1' AS a, '@x' AS b, 'plain' AS c", "csv")
    assert answer.text.splitlines()[1] == "'=1+1,'@x,plain"


def test_texts_in_answers_are_texts_in_the_page(clients):
    question = f"SELECT '{XSS}' AS it"
    page = clients["viewer"].get("/ask", params={"question": question}, headers=PAGE).text
    assert "<script>window" not in page and "<img src=x" not in page
    assert "&lt;script&gt;window" in page
    assert asked(clients["viewer"], question).json() == [{"it": XSS}]
