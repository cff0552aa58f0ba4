import errno
from pathlib import Path

import pytest

from services.chassis.blobs import BlobMissing, Blobs, Cache, Full
from services.chassis.errors import Away


def test_the_same_bytes_are_one_blob(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    one, two = blobs.put(b"abc", "txt"), blobs.put(b"abc", "txt")
    assert one == two
    assert one.size_bytes == 3
    assert blobs.read(one.uri) == b"abc"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    path = blobs.local_path(one.uri)
    assert path
    assert path.read_bytes() == b"abc"


def test_a_blob_whose_bytes_were_changed_is_not_given_out(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path))
    ref = blobs.put(b"abc")
    path = blobs.local_path(ref.uri)
    assert path
    path.write_bytes(b"abd")
    with pytest.raises(BlobMissing, match="damaged"):
        blobs.read(ref.uri)


@pytest.mark.parametrize("uri", ["blob://" + "0" * 64, "file:///etc/passwd", "blob://../../etc/passwd", "blob://", ""])
def test_what_is_not_in_the_store_is_refused_with_its_name(tmp_path: Path, uri: str) -> None:
    with pytest.raises(BlobMissing, match="blob"):
        Blobs(str(tmp_path)).read(uri)


def test_a_folder_that_is_away_is_waited_for_and_not_made_anew(tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    ref = Blobs(str(root)).put(b"abc")
    blobs = Blobs(str(root), make=False)
    root.rename(tmp_path / "away")
    for ask in (lambda: blobs.read(ref.uri), lambda: blobs.exists(ref.uri), lambda: blobs.put(b"new")):
        with pytest.raises(Away, match=r"blobs of the blob store is not there: is LOOPLINE_BLOBS_ROOT right"):
            ask()
    assert not root.exists()
    (tmp_path / "away").rename(root)
    assert blobs.read(ref.uri) == b"abc"
    assert blobs.read(blobs.put(b"new").uri) == b"new"


def test_an_object_store_that_cannot_be_reached_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoConnection(Exception):
        """As botocore's: no OSError."""

    NoConnection.__module__ = "botocore.exceptions"
    errors: list[Exception] = [NoConnection("no connection"), OSError("slow down"), ValueError("a bug of ours")]

    def fails(*_: object, **__: object) -> bytes:
        raise errors.pop(0)

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat_file", fails)
    for expected in (Away, Away, ValueError):
        with pytest.raises(expected):
            Blobs("memory://bucket/prefix").read("blob://" + "0" * 64)


def test_an_object_store_has_no_paths_and_works_the_same() -> None:
    blobs = Blobs("memory://bucket/prefix")
    ref = blobs.put(b"abc", "bin")
    assert blobs.exists(ref.uri)
    assert blobs.read(ref.uri) == b"abc"
    assert blobs.local_path(ref.uri) is None


def test_a_cache_keeps_the_last_value_and_refuses_keys_that_leave_it(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), "features/abc")
    assert cache.get("k1") is None
    cache.put("k1", b"1")
    cache.put("k1", b"2")
    assert cache.get("k1") == b"2"
    for key in ("../x", "a/b", "", "A"):
        with pytest.raises(ValueError, match="cache key"):
            cache.put(key, b"")
    with pytest.raises(ValueError, match="cache key"):
        Cache(str(tmp_path), "../out")


def test_a_full_disk_is_told_apart_and_what_is_kept_can_be_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(str(tmp_path), "checkpoints/train.solar.0123")
    cache.clear()
    cache.put("last", b"abc")
    cache.clear()
    assert cache.get("last") is None
    cache.put("last", b"abc")

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Full, match=r"no room left on the disk of .*: free some"):
        cache.put("last", b"abcd")
    assert cache.get("last") == b"abc"
