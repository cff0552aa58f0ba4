"""A client that is pointed at the wrong blob store says so, and makes no empty one."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from services.chassis.client import Client, request_for
from services.chassis.errors import Away
from services.chassis.settings import Settings
from tests.services.cli.world import png

pytestmark = pytest.mark.integration

ENOUGH_S = 60


def there(folder: str) -> bool:
    return Path(folder).exists()


async def test_a_blob_store_that_is_not_there_is_not_made(client: Client) -> None:
    root = client.settings.blobs_root
    assert not there(root)
    large = b"\x89PNG" + bytes(2**20)
    with pytest.raises(Away, match=f"the folder {root} of the blob store is not there: is LOOPLINE_BLOBS_ROOT right"):
        await request_for(client.blobs, large)
    assert not there(root)
    await asyncio.to_thread(Path(root).mkdir)
    assert (await request_for(client.blobs, large)).image_uri


async def test_the_command_line_says_so_in_a_sentence(settings: Settings, tmp_path: Path) -> None:
    for seed, label in enumerate(("good", "bad")):
        folder = tmp_path / "cells" / label
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(png(seed))
    environment = {
        **os.environ,
        "LOOPLINE_NATS_URL": settings.nats_url,
        "LOOPLINE_NATS_USER": settings.nats_user,
        "LOOPLINE_NATS_PASSWORD": settings.nats_password.get_secret_value(),
        "LOOPLINE_BLOBS_ROOT": settings.blobs_root,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "import", str(tmp_path / "cells"), "--project", "cells",
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, told = await asyncio.wait_for(process.communicate(), ENOUGH_S)
    assert process.returncode not in (0, None)
    assert f"the folder {settings.blobs_root} of the blob store is not there" in told.decode()
    assert "Traceback" not in told.decode()
    assert not there(settings.blobs_root)
