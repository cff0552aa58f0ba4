import json

from google.protobuf import json_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from services.deployer.model_config import DIGEST, MAX_BATCH_SIZE, model_config


def test_triton_knows_every_field() -> None:
    config = model_config("solar-v4", classes=2, max_side=1024, digest="ab" * 32, threads=3)
    parsed = json_format.Parse(json.dumps(config), ModelConfig(), ignore_unknown_fields=False)
    assert (parsed.name, parsed.backend, parsed.max_batch_size) == ("solar-v4", "python", MAX_BATCH_SIZE)
    assert parsed.HasField("dynamic_batching")
    assert [list(tensor.dims) for tensor in (*parsed.input, *parsed.output)] == [[3, -1, -1], [2], [-1, -1], [-1]]
    assert parsed.parameters[DIGEST].string_value == "ab" * 32
    assert parsed.parameters["warm_up_side"].string_value == "320"
