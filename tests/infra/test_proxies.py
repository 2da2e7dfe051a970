"""Our own servers are reached past a proxy, whatever library asks."""

import os
import urllib.request

import httpx
import pytest
import requests

from infra.proxies import spare_loopback

HERE, ELSEWHERE = "http://127.0.0.1:4200/api", "https://earth-search.aws.element84.com/v1"


@pytest.fixture
def environment(monkeypatch):
    """A network without a proxy, whose variables are put back."""
    for name in ("NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        for word in (name, name.lower()):
            monkeypatch.setenv(word, "")
    return monkeypatch


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "127.0.0.1,localhost,::1"),
        ("survey.example, 127.0.0.1", "survey.example,127.0.0.1,localhost,::1"),
        ("*", "*"),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_what_was_spared_before_is_spared_still(environment, name, before, after):
    environment.setenv(name, before)
    spare_loopback()
    spare_loopback()
    assert os.environ[name] == after


def test_every_library_asks_us_directly_and_others_by_the_proxy(environment):
    for name in ("http_proxy", "https_proxy"):
        environment.setenv(name, "http://proxy.example:3128")
    spare_loopback()
    assert urllib.request.proxy_bypass("127.0.0.1:4200")
    assert not urllib.request.proxy_bypass("earth-search.aws.element84.com")
    assert requests.utils.get_environ_proxies(HERE) == {}
    assert requests.utils.get_environ_proxies(ELSEWHERE)["https"] == "http://proxy.example:3128"
    with httpx.Client() as client:
        direct = client._transport_for_url(httpx.URL(HERE))
        proxied = client._transport_for_url(httpx.URL(ELSEWHERE))
    assert direct is client._transport and proxied is not client._transport


def test_a_proxy_of_the_socks_kind_can_be_asked(environment):
    environment.setenv("all_proxy", "socks5://127.0.0.1:9")
    with httpx.Client() as client, pytest.raises(httpx.ConnectError):
        client.get(ELSEWHERE)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(ELSEWHERE, timeout=5)
