# SPDX-License-Identifier: Apache-2.0
"""Reads the TOML files of this package into checked, frozen records."""

import hashlib
import tomllib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import HwModelError


class Record(BaseModel):
    """Base of every table record: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


RecordT = TypeVar("RecordT", bound=Record)


def available(folder: str) -> tuple[str, ...]:
    """Names of the TOML files in a data folder of this package, sorted, without suffix."""
    place = files(__package__) / folder
    entries = place.iterdir() if place.is_dir() else ()
    return tuple(sorted(e.name[: -len(".toml")] for e in entries if e.name.endswith(".toml")))


def read_text(folder: str, name: str) -> str:
    """Text of ``<folder>/<name>.toml``; an unknown name raises and lists the known ones."""
    known = available(folder)
    if name not in known:
        raise HwModelError(
            f"{folder}: there is no {name!r}; known are {', '.join(known) or 'none'}; "
            f"choose one of them or add hw_models/{folder}/{name}.toml"
        )
    entry: Traversable = files(__package__) / folder / f"{name}.toml"
    return entry.read_text(encoding="utf-8")


def sha256(text: str) -> str:
    """Hex SHA-256 of a table's text, the identity that reports and provenance quote."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse(text: str, record: type[RecordT], where: str) -> RecordT:
    """Checked record from TOML text; every problem is named with its key path."""
    try:
        return record.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise HwModelError(f"{where}: not valid TOML ({error}); correct the file") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'top level'}: {item['msg']}"
            for item in error.errors()
        )
        raise HwModelError(f"{where}: {problems}; correct the file") from error


def load_record(folder: str, name: str, record: type[RecordT]) -> tuple[RecordT, str]:
    """The checked record of ``<folder>/<name>.toml`` and the SHA-256 of its text."""
    found, digest = _load(folder, name, record)
    return cast(RecordT, found), digest


@cache
def _load(folder: str, name: str, record: type[Record]) -> tuple[Record, str]:
    text = read_text(folder, name)
    return parse(text, record, f"{folder}/{name}.toml"), sha256(text)


def read_file(path: Path) -> str:
    """Text of a table outside the package; a missing file raises."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise HwModelError(
            f"{path}: cannot be read ({error.strerror}); a TOML table is needed; check the path"
        ) from error
