"""What networks of offices have: a proxy for what lies beyond, and certificates of their own."""

from __future__ import annotations

import os
import ssl

from infra.ports import LOOPBACK

OURSELVES = (LOOPBACK, "localhost", "::1")
# httpx reads the first, requests the second, curl the third, the GDAL of rasterio the last.
BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GDAL_CURL_CA_BUNDLE")


def spare_loopback() -> None:
    """Let this process, and all it starts, reach its own servers past HTTP_PROXY and the like.

    What NO_PROXY, or no_proxy, names already stays; some libraries read the one, some the other.
    """
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if given.strip() == "*":
        return
    named = [name.strip() for name in given.split(",") if name.strip()]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(dict.fromkeys([*named, *OURSELVES]))


def trust_alike() -> None:
    """Have every library trust what one of them is told to, and else what the system trusts.

    Where TLS is inspected, each refused what the others accepted.
    """
    told = next((os.environ[name] for name in BUNDLES if os.environ.get(name)), None)
    if bundle := told or ssl.get_default_verify_paths().cafile:
        for name in BUNDLES:
            os.environ.setdefault(name, bundle)
