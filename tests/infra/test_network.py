"""Networks with a proxy, and with certificates of their own, whatever library asks."""

import os
import ssl
import subprocess
import sys
import threading
import urllib.request
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest
import rasterio
import requests
import trustme

from infra.network import BUNDLES, spare_loopback

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


ASK_ALL = """
import sys
from infra.network import trust_alike
trust_alike()
import httpx, rasterio, requests
httpx.get(sys.argv[1]).raise_for_status()
requests.get(sys.argv[1]).raise_for_status()
with rasterio.open(sys.argv[1]) as raster:
    print(raster.read(1).sum())
"""


@pytest.fixture(scope="module")
def inspected(tmp_path_factory):
    """A raster behind a certificate that only the survey's own authority vouches for."""
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    authority.cert_pem.write_to_path(folder / "survey.pem")
    shape = {"width": 2, "height": 2, "count": 1, "dtype": "uint8", "crs": "EPSG:32632"}
    transform = rasterio.Affine(10, 0, 0, 0, -10, 0)
    with rasterio.open(folder / "a.tif", "w", **shape, transform=transform) as raster:
        raster.write(np.full((1, 2, 2), 3, np.uint8))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}/a.tif", folder / "survey.pem"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", [*BUNDLES, None])
def test_what_one_library_is_told_to_trust_all_do(inspected, name):
    address, bundle = inspected
    environment = {k: v for k, v in os.environ.items() if k not in BUNDLES}
    environment |= {name: str(bundle)} if name else {}
    words = [sys.executable, "-c", ASK_ALL, address]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if name:
        assert done.stdout.strip() == "12", done.stderr
    else:
        assert "certificate verify failed" in done.stderr
