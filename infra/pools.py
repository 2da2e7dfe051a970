"""Where a work pool's runs run: files of base job templates, as `infra/docker/pools.yaml` is one.

type: docker                  the type of every pool: docker, kubernetes, … as Prefect names it
template:                     a Prefect base job template
  job_configuration: {image: "{{ image }}", …}
  variables: {type: object, properties: {image: {type: string}, …}}
defaults:                     what its variables are in each pool, unless a deployment differs
  cpu: {image: "scarp:cpu"}
  gpu: {image: "scarp:cuda"}
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from infra.errors import PoolError


class Pool(NamedTuple):
    """What a pool's workers are, and what they start for a run; None is Prefect's own template."""

    kind: str = "process"
    template: dict[str, Any] | None = None


def read_pools(path: Path, names: Iterable[str]) -> dict[str, Pool]:
    """Read the pools named from a file of base job templates.

    Raises:
        PoolError: the file cannot be read, lacks a part or a pool, or gives a default to a variable
            that its template does not have.
    """
    try:
        said = yaml.safe_load(path.read_text())
        kind, template, defaults = (said[part] for part in ("type", "template", "defaults"))
        return {name: Pool(kind, _filled(template, defaults[name])) for name in names}
    except (OSError, yaml.YAMLError) as error:
        raise PoolError(f"{path} cannot be read: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise PoolError(
            f"{path} does not have {error}; it needs type, template and defaults, as "
            "infra/docker/pools.yaml has them"
        ) from error


def _filled(template: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    filled = copy.deepcopy(template)
    for variable, value in defaults.items():
        filled["variables"]["properties"][variable]["default"] = value
    return filled
