"""The manifest of deploy/k8s: its shape is that of JobSet's schema, and its commands train with its variables."""

import re
import socket
from pathlib import Path

import pytest

from gradwire_common.settings.config import Config

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "deploy/k8s/jobset.yaml"


def jobset() -> dict:
    [found] = [each for each in yaml.safe_load_all(MANIFEST.read_text()) if each["kind"] == "JobSet"]
    return found


def jobs() -> dict[str, dict]:
    return {each["name"]: each["template"]["spec"] for each in jobset()["spec"]["replicatedJobs"]}


def container(name: str) -> dict:
    [found] = jobs()[name]["template"]["spec"]["containers"]
    return found


def variables(name: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(name).get("env", [])}


def test_the_manifest_has_what_the_schema_wants():
    """In outline, after jobset.x-k8s.io/v1alpha2 and batch/v1."""
    spec = jobset()["spec"]
    assert jobset()["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert set(spec) <= {"network", "successPolicy", "failurePolicy", "replicatedJobs", "startupPolicy", "suspend"}
    assert spec["network"]["enableDNSHostnames"]
    assert spec["successPolicy"]["operator"] in ("All", "Any")
    assert set(spec["successPolicy"]["targetReplicatedJobs"]) <= set(jobs())
    for job in jobs().values():
        assert job["completionMode"] == "Indexed"
        assert job["parallelism"] == job["completions"]
        pod = job["template"]["spec"]
        assert pod["restartPolicy"] in ("Never", "OnFailure")
        assert "backoffLimitPerIndex" not in job or pod["restartPolicy"] == "Never"
        mounted = {each["name"] for one in pod["containers"] for each in one["volumeMounts"]}
        assert mounted == {each["name"] for each in pod["volumes"]}


def test_the_variables_are_settings_and_the_server_expects_as_many_workers_as_there_are(monkeypatch):
    for name in ("server", "worker"):
        for variable, value in variables(name).items():
            monkeypatch.setenv(variable, value)
    config = Config.load()
    assert config.workers == jobs()["worker"]["completions"]
    name, network = jobset()["metadata"]["name"], jobset()["spec"]["network"]
    assert str(config.server) == f"{name}-server-0-0.{network['subdomain']}:{config.listen.port}"


def test_every_worker_has_a_kit_of_the_name_that_its_index_gives():
    [volume] = jobs()["worker"]["template"]["spec"]["volumes"]
    kits = [each["secret"]["items"] for each in volume["projected"]["sources"]]
    assert [Path(items[0]["path"]).parent.name for items in kits] == [
        f"worker-{index}" for index in range(jobs()["worker"]["completions"])
    ]
    assert {item["key"] for items in kits for item in items} == {"ca.pem", "cert.pem", "key.pem"}


@pytest.mark.long
def test_its_commands_and_variables_train_as_processes(run, start, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    names = [f"worker-{index}" for index in range(jobs()["worker"]["completions"])]
    assert run("certs", "init", "--host", "127.0.0.1").code == 0
    assert run("certs", "issue", "worker", *names).code == 0

    def here(text: str) -> str:
        local = text.replace("0.0.0.0:50051", address).replace("gradwire-server-0-0.gradwire:50051", address)
        return re.sub(r"^/(kits|runs)", lambda found: str(tmp_path / {"kits": "certs"}.get(found[1], found[1])), local)

    def settings(name: str) -> dict[str, str]:
        return {variable: here(value) for variable, value in variables(name).items()}

    served = start(*container("server")["args"], "--rounds", 5, **settings("server"))
    served.wait_for("^listening on")
    for index in range(len(names)):
        arguments = [here(each.replace("$(JOB_COMPLETION_INDEX)", str(index))) for each in container("worker")["args"]]
        start(*arguments, **settings("worker"), JOB_COMPLETION_INDEX=str(index))
    ready = [here(each) for each in container("server")["readinessProbe"]["exec"]["command"][1:]]
    assert run(*ready).code == 0
    assert served.wait() == 0
    assert (tmp_path / "runs/k8s/weights.safetensors").is_file()
