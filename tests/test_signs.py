"""A sign of life outlasts the sessions of a real PostgreSQL that is stopped and started."""

import time
from threading import Event

from sqlalchemy import create_engine

from infra import postgres
from infra.schema import parse_url
from tasks.signs import LOOK_S, nobody_signs, sign_of_life


def nobody(engine):
    with engine.begin() as connection:
        return nobody_signs(connection, "a response")


def test_a_sign_comes_back_with_the_database_and_goes_with_its_block(tmp_path):
    engine = create_engine(parse_url(postgres.start(tmp_path)), pool_pre_ping=True)
    taken_up = Event()
    try:
        with sign_of_life(engine, "a response", lambda _: taken_up.set()):
            assert not nobody(engine)
            postgres.stop(tmp_path, force=True)
            time.sleep(2 * LOOK_S)  # it is looked for in vain
            postgres.start(tmp_path)
            assert taken_up.wait(timeout=60)
            assert not nobody(engine)
        assert nobody(engine)
    finally:
        engine.dispose()
        postgres.stop(tmp_path, force=True)
