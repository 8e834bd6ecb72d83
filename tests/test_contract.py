"""The contract, its generated stubs and the server's table of statuses say the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trunkline.v1 import (
    admin_service_pb2,
    alerts_pb2,
    call_pb2,
    calls_pb2,
    content_pb2,
    feedback_service_pb2,
    gateway_service_pb2,
    identity_pb2,
    insights_pb2,
    model_pb2,
    model_service_pb2,
)
from trunkline_server.errors import STATUS_CODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import Descriptor, EnumDescriptor

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / ".venv-protos"
FILES = [
    module.DESCRIPTOR
    for module in (
        admin_service_pb2,
        alerts_pb2,
        call_pb2,
        calls_pb2,
        content_pb2,
        feedback_service_pb2,
        gateway_service_pb2,
        identity_pb2,
        insights_pb2,
        model_pb2,
        model_service_pb2,
    )
]

RPCS = {
    "GatewayService": {"Generate", "StreamGenerate", "HealthCheck", "UsageStats"},
    "ModelService": {"ListModels", "GetModel", "RecommendModels", "PlanRoute", "RefreshModels"},
    "FeedbackService": {"SubmitFeedback"},
    "AdminService": {
        "ListProviders",
        "ValidateCredentials",
        "SetProviderEnabled",
        "CreateApiKey",
        "ListApiKeys",
        "RotateApiKey",
        "RevokeApiKey",
        "ListAuditEvents",
        "ListCalls",
        "ExportUsage",
        "ResetStatistics",
        "SetStrategy",
        "ListAlerts",
        "WatchAlerts",
        "GetInsights",
    },
}


def stubs(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.mark.skipif(not (TOOLS / "ready").exists(), reason="`make protos` sets up what generates the stubs")
def test_the_committed_stubs_are_those_of_the_contract(tmp_path: Path) -> None:
    subprocess.run([ROOT / "protos/generate", tmp_path], check=True, env=with_tools())
    generated, committed = stubs(tmp_path / "trunkline"), stubs(ROOT / "clients/python/trunkline")
    assert sorted(committed) == sorted(generated)
    assert [name for name in generated if generated[name] != committed[name]] == []


@pytest.mark.skipif(not (TOOLS / "ready").exists(), reason="`make protos` sets up what generates the stubs")
@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
def test_the_committed_go_stubs_are_those_of_the_contract_and_of_the_descriptor_set(tmp_path: Path) -> None:
    committed = stubs(ROOT / "clients/go/trunkline")
    contract, descriptors = tmp_path / "contract", tmp_path / "descriptors"
    contract.mkdir()
    subprocess.run([ROOT / "protos/generate-go", contract], check=True, env=with_tools())
    assert stubs(contract / "trunkline") == committed
    # As clients/README.md says it for every other language.
    plugins = with_tools()
    plugins["PATH"] = f"{ROOT / '.tools/protoc-gen-go'}{os.pathsep}{plugins['PATH']}"
    template = ["--template", f"{ROOT}/protos/check/go/buf.gen.yaml", "-o", f"{descriptors}"]
    described = build_descriptors(tmp_path / "trunkline.binpb")
    subprocess.run(["buf", "generate", described, "--exclude-path", "google", *template], check=True, env=plugins)
    assert stubs(descriptors / "trunkline") == committed


def build_descriptors(path: Path) -> Path:
    """As `make descriptors` does."""
    command = ["buf", "build", "protos", "--as-file-descriptor-set", "-o", f"{path}"]
    subprocess.run(command, check=True, cwd=ROOT, env=with_tools())
    return path


def with_tools() -> dict[str, str]:
    return os.environ | {"PATH": f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def test_every_file_of_the_contract_is_looked_at() -> None:
    assert {file.name for file in FILES} == {
        f"trunkline/v1/{path.name}" for path in (ROOT / "protos/trunkline/v1").glob("*.proto")
    }


def test_the_services_have_exactly_these_rpcs() -> None:
    told = {
        name: {method.name for method in service.methods}
        for file in FILES
        for name, service in file.services_by_name.items()
    }
    assert told == RPCS


def test_only_answers_exports_and_alerts_are_streamed() -> None:
    services = [service for file in FILES for service in file.services_by_name.values()]
    methods = [method for service in services for method in service.methods]
    streamed = [method.name for method in methods if method.server_streaming]
    assert streamed == ["ExportUsage", "WatchAlerts", "StreamGenerate"]
    assert not any(method.client_streaming for method in methods)


def enums_in(messages: Iterable[Descriptor]) -> Iterator[EnumDescriptor]:
    for message in messages:
        yield from message.enum_types
        yield from enums_in(message.nested_types)


def test_the_zero_of_every_enum_is_unspecified() -> None:
    enums = [enum for file in FILES for enum in file.enum_types_by_name.values()]
    enums += [enum for file in FILES for enum in enums_in(file.message_types_by_name.values())]
    assert len(enums) > 5
    for enum in enums:
        assert enum.values_by_number[0].name.endswith("_UNSPECIFIED"), enum.full_name


def test_every_reason_has_a_status() -> None:
    reasons = set(call_pb2.ErrorReason.values()) - {call_pb2.ERROR_REASON_UNSPECIFIED}
    assert set(STATUS_CODES) == reasons


def test_the_status_of_each_reason_is_the_one_that_its_comment_names() -> None:
    text = (ROOT / "protos/trunkline/v1/call.proto").read_text()
    body = re.search(r"^enum ErrorReason \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    assert body
    commented = re.findall(r"^  // ([A-Z_]+)\. .*\n(?:  //.*\n)*  (\w+) = ", body[1], re.MULTILINE)
    named = {reason: status for status, reason in commented}
    assert named == {call_pb2.ErrorReason.Name(reason): code.name for reason, code in STATUS_CODES.items()}
