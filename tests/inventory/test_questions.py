"""Which SQL may be asked: what is let through, and everything that must not be."""

import pytest

from tasks.errors import QuestionError
from tasks.inventory.questions import check_question

VIEWS = ("v_events", "v_landslides", "v_inventories")


@pytest.mark.parametrize(
    "question",
    [
        "SELECT 1",
        "select event_id, count(*) from v_landslides group by 1 having count(*) > 1",
        "select * from scarp.v_landslides where scarp.near(geom, 'SRID=4326;POINT(1 2)', 5)",
        "with big as (select * from v_landslides where area_m2 > 9) select avg(area_m2) from big",
        "select st_area(geom::geography), st_asgeojson(geom) from v_landslides limit 5",
        "select percentile_cont(0.5) within group (order by area_m2) from v_landslides",
        "select d->>'text' from v_inventories, jsonb_array_elements(doubts) as d",
        "select date_trunc('day', occurred_at), now() - occurred_at from v_events",
        "select e.*, rank() over (partition by kind order by magnitude desc) from v_events e",
        "select 1 union all select 2",
        "select '-- no comment; /* nor this */'",
    ],
)
def test_what_analysts_ask_is_let_through(question):
    assert check_question(question, VIEWS).upper().startswith(("SELECT", "WITH"))


def test_a_part_called_as_a_table_of_the_database_lets_nobody_at_that_table():
    question = (
        "select * from pg_user, lateral (with pg_user as (select 1 a) select * from pg_user) as x"
    )
    written = check_question(question, VIEWS)
    assert "FROM asked_pg_user AS pg_user, LATERAL (WITH asked_pg_user AS" in written


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("", "ask one question"),
        ("select 1; select 2", "one question, not 2"),
        ("select from where", "cannot be read"),
        ("drop table scarp.event", "only SELECT"),
        ("delete from v_events", "only SELECT"),
        ("insert into v_events select 1", "only SELECT"),
        ("update v_events set title = ''", "only SELECT"),
        ("with gone as (delete from v_events returning *) select * from gone", "only SELECT"),
        ("select * into copy from v_events", "only SELECT"),
        ("select * from v_events for update", "only SELECT"),
        ("copy v_events to '/tmp/x'", "only SELECT"),
        ("set role scarp_owner", "only SELECT"),
        ("explain analyze select 1", "only SELECT"),
        ("select * from scarp.token", "no view token"),
        ("select * from event", "no view event"),
        ("select * from pg_catalog.pg_authid", "may not be read"),
        ("select * from pg_authid", "no view pg_authid"),
        ("select * from information_schema.tables", "may not be read"),
        ("select * from other.scarp.v_events", "may not be read"),
        ('select * from u&"pg\\005fauthid"', "as they are"),
        ("select set_config('role', 'scarp_owner', false)", "set_config"),
        ("select \"set_config\"('role', 'scarp_owner', false)", "set_config"),
        ("select pg_catalog.set_config('role', 'x', false)", "set_config"),
        ("select pg_sleep(100)", "pg_sleep"),
        ("select pg_read_file('/etc/passwd')", "pg_read_file"),
        ("select lo_import('/etc/passwd')", "lo_import"),
        ("select query_to_xml('select 1', true, true, '')", "query_to_xml"),
        ("select * from dblink('host=x', 'select 1') as t(a int)", "dblink"),
        ("select repeat('x', 1000000000)", "repeat"),
        ("select * from (select * from scarp.audit) as hidden", "no view audit"),
        ("select (select digest from scarp.token limit 1)", "no view token"),
        ("select exists (select 1 from scarp.token)", "no view token"),
        ("with token as (select 1) select * from scarp.token", "no view token"),
        ("select nextval('scarp.audit_id_seq')", "nextval"),
        ("select st_fromgdalraster('x')", "st_fromgdalraster"),
        ("select " + "1 + " * 4000 + "1", "up to 10,000 characters"),
    ],
)
def test_everything_else_is_refused_with_the_reason(question, why):
    with pytest.raises(QuestionError, match=why.replace("(", "\\(")):
        check_question(question, VIEWS)
