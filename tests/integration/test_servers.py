"""Each server starts for real and does what the loop wants of it."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import nats
import nats.errors
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from mlflow import MlflowClient

from deploy.embedded import servers
from deploy.embedded.servers import HOST, free_port
from tests.conftest import LabelStudioServer
from tests.servers import DidNotStart, eventually_gone, naming, running

pytestmark = pytest.mark.integration

_HALVES = """
import triton_python_backend_utils as pb
import torch
from torch.utils.dlpack import from_dlpack, to_dlpack

class TritonPythonModel:
    def execute(self, requests):
        return [pb.InferenceResponse([pb.Tensor.from_dlpack("OUT", to_dlpack(
            from_dlpack(pb.get_input_tensor_by_name(request, "IN").to_dlpack()) / 2))]) for request in requests]
"""


def get(url: str, headers: Mapping[str, str] | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=10) as response:
        return bytes(response.read())


async def test_nats_keeps_what_was_published(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    jetstream = connection.jetstream()
    await jetstream.add_stream(name="KEPT", subjects=["kept.>"], max_bytes=8 * 2**30)
    await jetstream.publish("kept.fact", b"said")
    kept = await jetstream.get_msg("KEPT", 1)
    await jetstream.delete_stream("KEPT")
    await connection.close()
    assert kept.data == b"said"


async def test_nats_with_a_password_lets_no_one_else_in(tmp_path: Path) -> None:
    port = free_port()
    authorization = {"user": "loopline", "password": 'a "b" $c'}
    with running(servers.nats(tmp_path / "nats", port, authorization), tmp_path / "nats.log"):
        connection = await nats.connect(f"nats://{HOST}:{port}", user="loopline", password='a "b" $c')
        await connection.close()
        with pytest.raises(nats.errors.Error, match="Authorization"):
            await nats.connect(f"nats://{HOST}:{port}", allow_reconnect=False)
    assert (tmp_path / "nats" / "nats.json").stat().st_mode & 0o777 == 0o600


def test_mlflow_has_a_model_registry(mlflow_url: str) -> None:
    client = MlflowClient(mlflow_url, mlflow_url)
    client.create_registered_model("kept-by-the-server")
    assert client.get_registered_model("kept-by-the-server").name == "kept-by-the-server"
    client.delete_registered_model("kept-by-the-server")


def test_label_studio_serves_files_under_its_root_only_to_its_user(label_studio: LabelStudioServer) -> None:
    user = json.loads(
        get(f"{label_studio.url}/api/current-user/whoami", {"Authorization": f"Token {label_studio.token}"})
    )
    assert user["email"] == label_studio.email
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(f"{label_studio.url}/api/current-user/whoami", {"Authorization": "Token wrong"})


def test_triton_runs_a_model_that_was_pushed_to_it_with_torch(triton: str) -> None:
    client = grpcclient.InferenceServerClient(triton)
    config = {
        "backend": "python",
        "input": [{"name": "IN", "data_type": "TYPE_FP32", "dims": [2]}],
        "output": [{"name": "OUT", "data_type": "TYPE_FP32", "dims": [2]}],
    }
    client.load_model("halves", config=json.dumps(config), files={"file:1/model.py": _HALVES.encode()})
    question = grpcclient.InferInput("IN", [2], "FP32")
    question.set_data_from_numpy(np.array([2, 4], np.float32))
    answer = client.infer("halves", [question]).as_numpy("OUT")
    client.unload_model("halves")
    assert answer.tolist() == [1, 2]


def test_a_server_that_does_not_start_says_why_in_its_log(tmp_path: Path) -> None:
    broken = servers.Process("broken", (sys.executable, "-c", "raise SystemExit('no disk')"), {}, lambda: False, 10)
    with pytest.raises(DidNotStart, match="no disk"), running(broken, tmp_path / "broken.log"):
        pass


def test_no_process_of_a_server_outlives_a_killed_test_run(tmp_path: Path) -> None:
    """MLflow stands for the servers that have processes of their own."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from deploy.embedded import servers; from tests.servers import running\n"
        "with running(servers.mlflow(Path(sys.argv[1]), servers.free_port()), Path(sys.argv[1]) / 'log'):\n"
        "    print('ready', flush=True); time.sleep(600)"
    )
    run = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, cwd=servers.ROOT)
    assert run.stdout is not None
    assert run.stdout.readline() == b"ready\n"
    assert len(naming(tmp_path)) >= 4
    run.kill()
    run.wait()
    run.stdout.close()
    eventually_gone(tmp_path)
