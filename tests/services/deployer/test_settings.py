import pytest
from pydantic import ValidationError

from services.deployer.settings import DeployerSettings


@pytest.mark.parametrize(
    "text", ["a=10.0.0.1:8001, b=gpu.example:8001", '{"a": "10.0.0.1:8001", "b": "gpu.example:8001"}']
)
def test_nodes_come_as_pairs_or_json(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LOOPLINE_TRITON_NODES", text)
    assert DeployerSettings().triton_nodes == {"a": "10.0.0.1:8001", "b": "gpu.example:8001"}


@pytest.mark.parametrize("text", ["", "127.0.0.1:8001", "a=127.0.0.1", "a=http://127.0.0.1:8001", "{"])
def test_what_is_no_node_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LOOPLINE_TRITON_NODES", text)
    with pytest.raises((ValidationError, ValueError)):
        DeployerSettings()
