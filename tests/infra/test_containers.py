"""The files that run Scarp in containers, held to their schemas and to the code they start."""

import json
import re
import shutil
import subprocess
import sys
from asyncio import run as wait_for
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from console.cli import app
from infra.pools import PoolError, read_pools
from infra.settings import Settings

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
BIN = Path(sys.executable).parent
IMAGES = ("cpu", "cuda")
POOLS = (INFRA / "docker" / "pools.yaml", INFRA / "kubernetes" / "pools.yaml")


def manifests():
    """Every object of the manifests, with its file's name."""
    for path in sorted((INFRA / "kubernetes").rglob("*.yaml")):
        if path.name not in ("kustomization.yaml", "pools.yaml"):
            for one in yaml.safe_load_all(path.read_text()):
                yield pytest.param(one, id=f"{path.stem}-{one['kind']}-{one['metadata']['name']}")


def compose(*names):
    services = {}
    for name in names:
        services |= yaml.safe_load((INFRA / name).read_text())["services"]
    return services


def containers(manifest):
    spec = manifest.get("spec", {}).get("template", {}).get("spec", {})
    return spec.get("containers", [])


@pytest.mark.parametrize("image", IMAGES)
def test_hadolint_has_nothing_to_say_of_an_image(image):
    command = [BIN / "hadolint", INFRA / f"Dockerfile.{image}"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_the_versions_that_are_tested(image):
    text = (INFRA / f"Dockerfile.{image}").read_text().replace("\\\n", "")
    installs = re.findall(r"uv pip install ([^&\n]*)", text)
    assert len(installs) >= 2
    assert all("-c constraints.txt" in one or "--no-deps" in one for one in installs)
    assert text.count("FROM python:3.11-slim-bookworm") == 2


@pytest.mark.parametrize("name", ["compose.yaml", "compose.cuda.yaml"])
def test_compose_files_follow_the_compose_specification(name):
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", INFRA / name]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("manifest", [*manifests()])
def test_a_manifest_follows_the_schema_of_kubernetes(manifest):
    kubernetes_validate.validate(manifest, "1.37", strict=True)


def started():
    """What every container is told to run."""
    for name, service in compose("compose.yaml", "compose.cuda.yaml").items():
        if "command" in service:
            yield pytest.param(service["command"], id=f"compose-{name}")
    for one in manifests():
        for container in containers(one.values[0]):
            if "args" in container:
                yield pytest.param(container["args"], id=one.id)


@pytest.mark.parametrize("words", [*started()])
def test_what_a_container_runs_is_a_command(words):
    program, *rest = words
    if program == "scarp":
        said = CliRunner().invoke(app, [*rest, "--help"])
        assert said.exit_code == 0 and rest[0] in said.output
        assert all(word in said.output for word in rest if word.startswith("--"))
    else:
        assert program == "dask" and (BIN / "dask").exists()


def test_every_variable_of_scarp_is_a_setting():
    known = {f"SCARP_{name}".upper() for name in Settings.model_fields} | {"SCARP_IMAGERY"}
    files = [path for path in INFRA.rglob("*") if path.suffix in (".yaml", ".cpu", ".cuda")]
    named = {name for path in files for name in re.findall(r"\bSCARP_[A-Z_]+", path.read_text())}
    assert {"SCARP_HOME", "SCARP_DATABASE_URL", "SCARP_DASK_ADDRESS", "SCARP_DEVICE"} <= named
    assert named <= known


def test_no_file_holds_a_secret():
    for path in INFRA.rglob("*.yaml"):
        text = path.read_text()
        assert not re.search(r"://[^/\s:@]+:[^/\s@]+@", text), path
        assert not re.search(r"(?i)(password|api_key):\s*[\"']?[A-Za-z0-9]", text), path


def test_a_file_of_secrets_reaches_a_program_as_its_variable(tmp_path):
    (tmp_path / "PGPASSWORD").write_text("a b'c\n")
    (tmp_path / "folder").mkdir()
    script = (INFRA / "entrypoint.sh").read_text().replace("/run/secrets", str(tmp_path))
    said = subprocess.check_output(["sh", "-c", script, "entry", "printenv", "PGPASSWORD"])
    assert said == b"a b'c\n"


def job(path, pool):
    """What the worker of a pool would start for a run."""
    from prefect_docker.worker import DockerWorkerJobConfiguration
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    kind, template = read_pools(path, ["cpu", "gpu"])[pool]
    configuration = {
        "docker": DockerWorkerJobConfiguration,
        "kubernetes": KubernetesWorkerJobConfiguration,
    }[kind]
    # A block would be read from a server.
    text = json.dumps(template).replace("{{ prefect.blocks.secret.scarp-pgpassword }}", "hidden")
    return wait_for(configuration.from_template_and_values(json.loads(text), {}, client=object()))


@pytest.mark.parametrize("pool,gpus,image", [("cpu", 0, "scarp:cpu"), ("gpu", 1, "scarp:cuda")])
def test_a_kubernetes_job_asks_for_the_gpus_of_its_pool(pool, gpus, image):
    manifest = job(POOLS[1], pool).job_manifest
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image
    assert container["resources"]["requests"]["nvidia.com/gpu"] == gpus
    assert container["resources"]["limits"]["nvidia.com/gpu"] == gpus
    for misplaced in ("parallelism", "completions"):
        del manifest["spec"]["template"]["spec"][misplaced]
    container.pop("args", None), container.pop("env", None)
    manifest["metadata"] = {"name": "run"}
    kubernetes_validate.validate(manifest, "1.37", strict=True)


@pytest.mark.parametrize("pool,gpus,image", [("cpu", 0, "scarp:cpu"), ("gpu", 1, "scarp:cuda")])
def test_a_docker_container_asks_for_the_gpus_of_its_pool(pool, gpus, image):
    made = job(POOLS[0], pool)
    assert made.image == image
    asked = made.container_create_kwargs["device_requests"]
    assert [one["Count"] for one in asked] == [1] * gpus
    declared = yaml.safe_load((INFRA / "compose.yaml").read_text())
    assert made.networks == [f"{declared['name']}_default"]
    assert {volume.split(":")[0] for volume in made.volumes} <= {
        f"{declared['name']}_{volume}" for volume in declared["volumes"]
    }
    assert made.env["SCARP_DATABASE_URL"] in (INFRA / "compose.yaml").read_text()


@pytest.mark.parametrize(
    "text,reason",
    [
        ("type: docker\ndefaults: {}\n", "does not have 'template'"),
        ("type: docker\ntemplate: {variables: {properties: {}}}\ndefaults: {cpu: {}}\n", "'gpu'"),
        ("type: [docker\n", "cannot be read"),
        (
            "type: docker\ntemplate: {variables: {properties: {}}}\n"
            "defaults: {cpu: {imgae: x}, gpu: {}}\n",
            "'imgae'",
        ),
    ],
)
def test_a_file_of_pools_that_lacks_something_is_told(tmp_path, text, reason):
    path = tmp_path / "pools.yaml"
    path.write_text(text)
    with pytest.raises(PoolError, match=reason) as error:
        read_pools(path, ["cpu", "gpu"])
    assert str(path) in str(error.value)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("components,images", [("[]", {"scarp:cpu"}), ("[dask]", {"scarp:cuda"})])
def test_kustomize_puts_the_manifests_together(tmp_path, components, images):
    folder = shutil.copytree(INFRA / "kubernetes", tmp_path / "kubernetes")
    file = folder / "kustomization.yaml"
    file.write_text(file.read_text().replace("components: []", f"components: {components}"))
    made = yaml.safe_load_all(subprocess.check_output(["kubectl", "kustomize", folder]))
    used = {one["image"] for manifest in made for one in containers(manifest)}
    assert images <= used and "postgis/postgis:17-3.5" in used
