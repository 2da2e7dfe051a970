"""`scarp token`: made once, listed, taken back."""

import json


def test_a_token_is_shown_once_and_nowhere_else(scarp):
    code, out, _ = scarp("token", "add", "ann", "--role", "operator", "--json")
    assert code == 0
    made = json.loads(out)
    assert made["role"] == "operator" and len(made["token"]) > 40
    _, out, _ = scarp("token", "list", "--json")
    assert made["token"] not in out
    assert [one["name"] for one in json.loads(out)] == ["ann"]


def test_a_name_has_one_good_token(scarp):
    scarp("token", "add", "ann")
    code, _, error = scarp("token", "add", "ann")
    assert code == 2 and "scarp token revoke 'ann'" in error
    assert scarp("token", "revoke", "ann")[0] == 0
    assert scarp("token", "add", "ann", "--role", "reviewer")[0] == 0


def test_what_cannot_be_is_said(scarp):
    for words, why in (
        (("add", "ann", "--role", "king"), "choose viewer, reviewer, operator"),
        (("add", "a/b"), "is no name for a token"),
        (("add", "ann", "--days", "0"), "a token lasts"),
        (("add", "ann", "--days", "1e300"), "366 days"),
        (("add", "ann", "--days", "nan"), "a token lasts"),
        (("revoke", "nobody"), "nobody called 'nobody'"),
    ):
        code, _, error = scarp("token", *words)
        assert code == 2
        assert why in " ".join(error.split())


def test_nobody_has_one_at_first(scarp):
    assert "nobody has a token" in "".join(scarp("token", "list")[1:])
