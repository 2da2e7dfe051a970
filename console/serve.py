"""`scarp serve`: the console for people, and the service for QGIS, web maps and scripts."""

from __future__ import annotations

import socket
from typing import Annotated, Any

import typer

from console.garbage import stay
from console.output import say

# A viewer holds up to six connections, one of them for news.
CONCURRENT = 1000
# A page that is looked at asks again within seconds; a new connection costs more than a kept one.
KEPT_S = 60


def serve(
    host: Annotated[str, typer.Option(help="Where to listen; only this machine by default.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8085,
    origin: Annotated[
        list[str] | None, typer.Option(help="Web page that may ask from a browser; again for more.")
    ] = None,
) -> None:
    """Serve the console, the views as OGC API Features and tiles, and the products as tiles.

    People log in with what `scarp token add` gives them. Example: scarp serve --port 8085
    """
    import uvicorn

    from console.service.app import create_app
    from console.web.headers import LOOPBACK
    from console.web.site import create_site
    from flows.world import open_world
    from infra.roles import role_url
    from infra.settings import Settings

    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        why = f"cannot listen on {host}:{port} ({error.strerror}); choose another --host or --port"
        raise typer.BadParameter(why) from error
    # asyncio does so itself, but not to sockets that were made elsewhere: an answer in two packets
    # would wait 40 ms for the first to be acknowledged.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stay()
    world = open_world()
    settings = Settings()
    service = create_app(role_url(settings, "reader"), world.products, origins=origin or ())
    app = create_site(service, basemap=settings.basemap_url, open_to_read=host in LOOPBACK)
    say(f"serving http://{host}:{port} (QGIS: WFS / OGC API Features); Ctrl-C ends it")
    quiet: dict[str, Any] = {"log_level": "warning", "access_log": False}
    config = uvicorn.Config(app, limit_concurrency=CONCURRENT, timeout_keep_alive=KEPT_S, **quiet)
    uvicorn.Server(config).run(sockets=[listening])
