# SPDX-License-Identifier: Apache-2.0
"""Remembers what was counted, so that measuring again runs only what changed.

One small file per network. Its name is a hash over everything that can change the counts (emitted
source, compiler and flags, core, harness); its content carries its own checksum. A file that is
damaged, of another format or unreadable counts as absent: it is measured again and replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import UsageError

FORMAT = b"adaqat-counts-1\n"
_DIGEST_BYTES = 32


def default_folder() -> Path:
    """The folder for counts: ``$XDG_CACHE_HOME/adaqat/counts``, or what replaces it here."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "adaqat" / "counts"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "adaqat" / "counts"
    return Path.home() / ".cache" / "adaqat" / "counts"


def key_of(parts: Mapping[str, str]) -> str:
    """Hex SHA-256 over named parts; the order does not matter."""
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()


class CountCache:
    """Entries by key.

    Attributes:
        folder: where they lie; None remembers nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        """Make the folder.

        Raises:
            UsageError: it cannot be made or written to.
        """
        self.folder = folder
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise UsageError(
                f"{folder}: cannot hold measured counts ({error.strerror}); a writable folder is"
                f" needed; give another one with --cache, or --no-cache"
            ) from error

    def get(self, key: str) -> dict[str, Any] | None:
        """The entry, None when there is none that can be believed."""
        if self.folder is None:
            return None
        try:
            raw = self._path(key).read_bytes()
        except OSError:
            return None
        if not raw.startswith(FORMAT):
            return None
        body = raw[len(FORMAT) :]
        if hashlib.sha256(key.encode() + body[_DIGEST_BYTES:]).digest() != body[:_DIGEST_BYTES]:
            return None
        entry: dict[str, Any] = json.loads(zlib.decompress(body[_DIGEST_BYTES:]))
        return entry

    def put(self, key: str, entry: Mapping[str, Any]) -> None:
        """Remember an entry; a full disk only means that it will be measured again."""
        if self.folder is None:
            return
        packed = zlib.compress(json.dumps(dict(entry), separators=(",", ":")).encode())
        digest = hashlib.sha256(key.encode() + packed).digest()
        path = self._path(key)
        try:
            path.parent.mkdir(exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(handle, "wb") as stream:
                stream.write(FORMAT + digest + packed)
            # Other processes see the whole entry or none.
            os.replace(name, path)
        except OSError:
            return

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / key[2:]
