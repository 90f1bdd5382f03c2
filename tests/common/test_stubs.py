import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_committed_stubs_are_those_of_the_proto_files(tmp_path):
    protos = sorted((ROOT / "proto").glob("*.proto"))
    subprocess.run(
        [
            sys.executable,
            *("-m", "grpc_tools.protoc", f"-Igradwire_common/v1={ROOT / 'proto'}"),
            *(f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")),
            *(f"gradwire_common/v1/{proto.name}" for proto in protos),
        ],
        check=True,
    )
    fresh = sorted((tmp_path / "gradwire_common" / "v1").iterdir())
    assert len(fresh) == 3 * len(protos)
    for file in fresh:
        committed = ROOT / "common" / "gradwire_common" / "v1" / file.name
        assert committed.read_text() == file.read_text(), f"{file.name} is stale: run `make stubs`"
