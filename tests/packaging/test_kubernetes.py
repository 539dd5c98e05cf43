"""The Kubernetes manifests fit the image, the command line, the options and each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from moorage.telemetry.health import HEALTH_PATH, METRICS_PATH, READINESS_PATH
from moorage.wiring import options
from moorage.wiring.config_files import ConfigFiles
from moorage.wiring.settings import settings_from
from tests.packaging.containerfile import instructions
from tests.packaging.test_shipping import CONTAINERFILE, ROOT, arguments_parse

FILE = ROOT / "packaging" / "kubernetes.yaml"
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(FILE.read_text()))
IMAGE = {each.word: each for each in instructions(CONTAINERFILE)}


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [document for document in DOCUMENTS if document["kind"] == kind]
    return found


def pods() -> Iterator[dict[str, Any]]:
    """What the Job and the Deployment start."""
    for kind in ("Job", "Deployment"):
        yield of_kind(kind)["spec"]["template"]["spec"]


def container(pod: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    assert isinstance(found, dict)
    return found


def test_everything_is_in_one_namespace() -> None:
    namespace = of_kind("Namespace")["metadata"]["name"]
    others = [document for document in DOCUMENTS if document["kind"] != "Namespace"]
    assert len(others) > 4
    assert {document["metadata"]["namespace"] for document in others} == {namespace}


def test_pods_run_as_the_user_of_the_image_and_without_rights() -> None:
    user, _, group = IMAGE["USER"].rest.partition(":")
    for pod in pods():
        assert pod["securityContext"]["runAsUser"] == int(user)
        assert pod["securityContext"]["runAsGroup"] == int(group)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container(pod)["securityContext"]["allowPrivilegeEscalation"] is False
        assert container(pod)["securityContext"]["readOnlyRootFilesystem"] is True


def test_both_pods_use_one_image_and_start_commands_of_ours() -> None:
    assert len({container(pod)["image"] for pod in pods()}) == 1
    for pod in pods():
        # The image's entry point is the command itself.
        assert "command" not in container(pod)
        assert arguments_parse(container(pod)["args"])


def test_ports_and_probes_are_those_of_the_service() -> None:
    serving = container(of_kind("Deployment")["spec"]["template"]["spec"])
    arguments = serving["args"]
    ports = {port["name"]: port["containerPort"] for port in serving["ports"]}
    assert str(ports["api"]) == arguments[arguments.index("--port") + 1] == IMAGE["EXPOSE"].rest
    assert arguments[arguments.index("--host") + 1] == "0.0.0.0"
    assert serving["livenessProbe"]["httpGet"] == {"path": HEALTH_PATH, "port": "api"}
    assert serving["startupProbe"]["httpGet"] == {"path": HEALTH_PATH, "port": "api"}
    assert serving["readinessProbe"]["httpGet"] == {"path": READINESS_PATH, "port": "api"}
    noted = of_kind("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert noted["prometheus.io/path"] == METRICS_PATH
    assert noted["prometheus.io/port"] == str(ports["metrics"])
    (port,) = of_kind("Service")["spec"]["ports"]
    assert port["targetPort"] in ports


def test_a_pod_has_time_to_stop() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    arguments = container(pod)["args"]
    (_, pause) = container(pod)["lifecycle"]["preStop"]["exec"]["command"]
    stop = int(arguments[arguments.index("--stop-seconds") + 1])
    assert pod["terminationGracePeriodSeconds"] > int(pause) + stop


def test_selectors_find_the_pods_and_not_the_job() -> None:
    labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert of_kind("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert of_kind("Service")["spec"]["selector"] == labels
    assert of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert of_kind("Job")["spec"]["template"]["metadata"]["labels"] != labels


def test_what_is_mounted_and_referred_to_exists() -> None:
    for pod in pods():
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["name"]: mount["mountPath"] for mount in container(pod)["volumeMounts"]}
        assert volumes.keys() == mounts.keys()
        named = volumes["configuration"]["configMap"]["name"]
        assert named == of_kind("ConfigMap")["metadata"]["name"]
        directory = re.search(r"OS_PLACEMENT_CONFIG_DIR=(\S+)", IMAGE["ENV"].rest)
        assert directory is not None
        assert mounts["configuration"] == directory[1]
        for variable in container(pod)["env"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["name"] == of_kind("Secret")["metadata"]["name"]
            assert reference["key"] in of_kind("Secret")["stringData"]


def test_the_configuration_and_the_environment_make_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name, text), *more = of_kind("ConfigMap")["data"].items()
    assert not more
    (tmp_path / name).write_text(text)
    secret = of_kind("Secret")["stringData"]
    for pod in pods():
        for variable in container(pod)["env"]:
            value = secret[variable["valueFrom"]["secretKeyRef"]["key"]]
            monkeypatch.setenv(variable["name"], value)
            assert isinstance(value, str)
    conf = options.read_options(ConfigFiles((tmp_path / name,)))
    settings = settings_from(conf)
    assert conf.placement_database.connection == secret["connection"]
    assert settings is not None
    metrics = conf.moorage.metrics_listen.rpartition(":")[2]
    assert (
        metrics == of_kind("Deployment")["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]
    )
    assert conf.api.auth_strategy == "token"
    # What the file says beside that would be left alone without a word.
    for section, option in re.findall(r"^\[(\w+)\]\n(\w+) =", text, re.MULTILINE):
        assert hasattr(getattr(conf, section), option)
