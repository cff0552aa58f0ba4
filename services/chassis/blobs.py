"""The content-addressed blob store, and a keyed cache beside it for what can be computed again. Both over fsspec.

A folder by default; `s3://bucket/prefix` (or any other fsspec URL) by setting.
"""

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import fsspec

from contracts.events.base import BlobRef
from services.chassis.errors import Away, Rejected

_URI = re.compile(r"blob://([0-9a-f]{64})((?:\.[a-z0-9]{1,8})?)")
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
# s3fs makes OSErrors of what the server answers. That it cannot be reached comes as it is.
_OF_S3 = "botocore."


class BlobMissing(Rejected):
    """The store has no such blob, or its bytes are not those that its name promises."""


class Full(Away):
    """There is no room left to write; the text says where."""


class _Folder:
    """A root that fsspec understands: a path or a URL. `write` makes a folder that is missing where `make` says so."""

    def __init__(self, root: str, *, make: bool) -> None:
        self._make = make
        self._fs, self._root = cast("tuple[Any, str]", fsspec.core.url_to_fs(root))
        self._root = self._root.rstrip("/")
        self.is_local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str) -> bytes | None:
        with self._answering():
            try:
                return cast(bytes, self._fs.cat_file(self.path(name)))
            except FileNotFoundError:
                return None

    def exists(self, name: str) -> bool:
        with self._answering():
            return bool(self._fs.exists(self.path(name)))

    def check(self) -> None:
        """Raises Away where the root itself is missing."""
        if self.is_local and not os.path.isdir(self._root):
            raise Away(
                f"the folder {self._root} of the blob store is not there: "
                "is LOOPLINE_BLOBS_ROOT right and its disk mounted? A new store needs a folder to be made first"
            )

    def write(self, name: str, data: bytes) -> None:
        """Whole or not at all: readers never see half a file."""
        path = self.path(name)
        with self._answering():
            if not self.is_local:
                self._fs.pipe_file(path, data)
                return
            if not self._make:
                self.check()
            Path(path).parent.mkdir(parents=self._make, exist_ok=True)
            partial = f"{path}.{uuid.uuid4().hex}.partial"
            try:
                Path(partial).write_bytes(data)
                os.replace(partial, path)
            except OSError:
                Path(partial).unlink(missing_ok=True)
                raise

    def remove(self) -> None:
        """All of it, with what is in it; no error where it is not there."""
        with self._answering(), suppress(FileNotFoundError):
            self._fs.rm(self._root, recursive=True)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """A store that is away, full or not ours to write is waited for; a blob that is not there is no error here."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, OSError) and not type(error).__module__.startswith(_OF_S3):
                raise
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise Full(f"there is no room left on the disk of {self._root}: free some") from error
            raise Away(f"the blob store at {self._root} does not answer: {error}") from error


class Blobs:
    """Bytes under the name of their SHA-256. The same bytes put twice are stored once.

    The first `put` makes a folder that is missing. Services and clients pass `make=False`, for to them it is a disk
    that is away, or the wrong folder: what is put into a new one in its place nobody else would find. They raise Away.
    """

    def __init__(self, root: str, *, make: bool = True) -> None:
        self._folder = _Folder(root, make=make)

    def put(self, data: bytes, suffix: str = "") -> BlobRef:
        """Store bytes. `suffix` without a dot, such as `png`, is part of the name.

        Returns the reference to say on the bus.
        """
        digest = hashlib.sha256(data).hexdigest()
        ref = BlobRef(uri=f"blob://{digest}{'.' + suffix if suffix else ''}", sha256=digest, size_bytes=len(data))
        name = self._name(ref.uri)
        if not self._folder.exists(name):
            self._folder.write(name, data)
        return ref

    def read(self, uri: str) -> bytes:
        """The bytes behind a `blob://` URI.

        Raises:
            BlobMissing: no such blob, a URI of another scheme, or bytes that do not match the name.
        """
        data = self._folder.read(self._name(uri))
        if data is None:
            self._folder.check()
            raise BlobMissing(f"{uri} is not in the blob store; was it removed, or put into another store?")
        if hashlib.sha256(data).hexdigest() != uri[len("blob://") :][:64]:
            raise BlobMissing(f"{uri} is damaged in the blob store: its bytes do not match its name")
        return data

    def exists(self, uri: str) -> bool:
        """Whether the store has it."""
        found = self._folder.exists(self._name(uri))
        if not found:
            self._folder.check()
        return found

    def check(self) -> None:
        """Raises Away where the folder of the store itself is missing."""
        self._folder.check()

    def local_path(self, uri: str) -> Path | None:
        """The file behind a URI where the store is a folder; None in an object store."""
        return Path(self._folder.path(self._name(uri))) if self._folder.is_local else None

    @staticmethod
    def _name(uri: str) -> str:
        match = _URI.fullmatch(uri)
        if not match:
            raise BlobMissing(f"{uri!r} is not a blob URI: blob://<sha256>[.suffix]")
        digest, suffix = match.groups()
        return f"{digest[:2]}/{digest}{suffix}"


class Cache:
    """What can be computed again, under a key: kept features, kept answers. Losing it costs time only."""

    def __init__(self, root: str, name: str) -> None:
        for part in name.split("/"):
            _check_key(part)
        self._folder = _Folder(f"{root.rstrip('/')}/{name}", make=True)

    def get(self, key: str) -> bytes | None:
        """What was kept, or None."""
        return self._folder.read(self._name(key))

    def put(self, key: str, data: bytes) -> None:
        """Keep; a second put under the same key replaces the first."""
        self._folder.write(self._name(key), data)

    def clear(self) -> None:
        """Forget everything that is kept here."""
        self._folder.remove()

    @staticmethod
    def _name(key: str) -> str:
        _check_key(key)
        return f"{key[:2]}/{key}"


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} cannot be a cache key")
