"""`scarp deploy`, `scarp start`: the parts of `scarp up`, for several machines that share them."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.output import say

if TYPE_CHECKING:
    from infra.services import Service


class Program(StrEnum):
    """What `scarp up` keeps running, by name."""

    PREFECT = "prefect"
    WORKER_CPU = "worker-cpu"
    WORKER_GPU = "worker-gpu"
    RELAY = "relay"
    CONSOLE = "console"


def deploy(
    pools: Annotated[
        Path | None,
        typer.Option(help="Base job templates, such as infra/kubernetes/pools.yaml."),
    ] = None,
    cpu_slots: Annotated[int, typer.Option(min=1, help="Runs at once on the pool cpu.")] = 2,
    gpu_slots: Annotated[int, typer.Option(min=1, help="Runs at once on the pool gpu.")] = 1,
    watch: Annotated[
        bool, typer.Option(help="Look at the feeds of USGS and GDACS by schedule.")
    ] = True,
) -> None:
    """Apply pools, deployments and automations to the server that PREFECT_API_URL names.

    Without --pools, workers run what they are given themselves. Done again it changes nothing.
    Example: scarp deploy --gpu-slots 4
    """
    from infra import orchestration
    from infra.settings import Settings

    api_url = _server()
    slots = {"cpu": cpu_slots, "gpu": gpu_slots}
    orchestration.deploy(Settings(), api_url, slots, watch, pools)
    say(f"pools, deployments and automations are applied to {api_url}")


def start(
    program: Annotated[Program, typer.Argument(help="Which part of `scarp up`.")],
    host: Annotated[
        str, typer.Option(help="Where prefect and console listen; only this machine by default.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Their port: 4200, 8085 if not given.")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="Runs at once, for a worker.")] = 1,
) -> None:
    """Run one part of `scarp up` here, in the foreground; all but prefect need PREFECT_API_URL.

    Example: scarp start worker-gpu --slots 2
    """
    service = _service(program, host, port, slots)
    given = dict(os.environ)
    if program is Program.PREFECT:
        # A server that is told of a server asks that one instead of its database.
        given.pop("PREFECT_API_URL", None)
    os.execve(service.command[0], service.command, given | dict(service.environment))


def _service(program: Program, host: str, port: int | None, slots: int) -> Service:
    from infra import orchestration
    from infra.settings import Settings

    settings, ports = Settings(), orchestration.Ports()
    if program is Program.PREFECT:
        return orchestration.server(settings, port or ports.prefect, host)
    api_url = _server()
    if program is Program.RELAY:
        return orchestration.relay(settings, api_url)
    if program is Program.CONSOLE:
        return orchestration.console(settings, api_url, port or ports.console, host)
    return orchestration.worker(settings, api_url, program.removeprefix("worker-"), slots)


def _server() -> str:
    """The Prefect server to work for.

    Raises:
        ServiceError: none is named, none answers, or it is of another version.
    """
    from infra.errors import ServiceError
    from infra.orchestration import check_server

    api_url = os.environ.get("PREFECT_API_URL")
    if not api_url:
        raise ServiceError(
            "PREFECT_API_URL names no Prefect server; set it, as http://prefect:4200/api, or run "
            "everything on this machine with `scarp up`"
        )
    check_server(api_url)
    return api_url
