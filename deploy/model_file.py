# SPDX-License-Identifier: Apache-2.0
"""``*.adaqat`` files: one safetensors file, arrays as tensors, the graph as JSON in the metadata.

Loading runs no code from the file and trusts nothing in it: every field is checked against the
operator's declared fields, and the graph passes `check` before anyone sees it.
"""

from __future__ import annotations

import json
import os
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as save_tensors

from .check import check
from .errors import AdaqatError, ModelFileError
from .graph import Graph, Node
from .ops import REGISTRY
from .ops.base import TensorInfo
from .types import IntType

FORMAT = 1
"""Version of the file format; raised when an old reader would misread a new file."""
KEY = "adaqat"


def save(graph: Graph, path: Path | str) -> None:
    """Write a graph; the same graph gives the same bytes. The file appears whole or not at all."""
    arrays: dict[str, NDArray[Any]] = {}
    nodes = []
    for index, node in enumerate(graph.nodes):
        out = node.output
        nodes.append(
            {
                "name": node.name,
                "kind": node.op.kind,
                "inputs": list(node.inputs),
                "source": node.source,
                "shape": list(out.shape),
                "type": str(out.type),
                "scale": out.scale,
                "zero": out.zero,
                "op": _encode(node.op, f"{index}", arrays),
            }
        )
    header = {"format": FORMAT, "name": graph.name, "output": graph.output, "nodes": nodes}
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(save_tensors(arrays, {KEY: text}))
        temporary.replace(target)
    except OSError as error:
        raise ModelFileError(f"{target}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _encode(value: Any, path: str, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, IntType):
        return str(value)
    if isinstance(value, np.ndarray):
        arrays[path] = np.ascontiguousarray(value)
        return {"array": path}
    if is_dataclass(value):
        return {
            item.name: _encode(getattr(value, item.name), f"{path}.{item.name}", arrays)
            for item in fields(value)
        }
    if isinstance(value, tuple):
        return [_encode(entry, f"{path}.{i}", arrays) for i, entry in enumerate(value)]
    return value


def load(path: Path | str) -> Graph:
    """Read a graph.

    Raises:
        ModelFileError: missing, truncated, foreign, of another format version, or inconsistent.
    """
    source = Path(path)
    if not source.is_file():
        raise ModelFileError(f"{source}: no such file; give the path of an .adaqat model file")
    try:
        with safe_open(source, framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
            arrays = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{source}: not a readable safetensors file ({error}); it may be truncated or of"
            " another kind; save the model again with adaqat.deploy.save"
        ) from error
    if text is None:
        raise ModelFileError(
            f"{source}: a safetensors file without an adaqat graph; files written by"
            " adaqat.deploy.save are supported; lower and save the model first"
        )
    try:
        return check(_graph(json.loads(text), arrays))
    except AdaqatError as error:
        raise ModelFileError(f"{source}: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise ModelFileError(
            f"{source}: inconsistent graph ({type(error).__name__}: {error}); it was changed after"
            " it was written; save the model again"
        ) from error


def _graph(header: Any, arrays: dict[str, NDArray[Any]]) -> Graph:
    if header["format"] != FORMAT:
        raise ModelFileError(
            f"format version {header['format']}; version {FORMAT} is supported by this release;"
            " save the model again with this release"
        )
    nodes = []
    for entry in header["nodes"]:
        kind = entry["kind"]
        if kind not in REGISTRY:
            raise ModelFileError(
                f"operator {kind!r}; known operators: {', '.join(sorted(REGISTRY))}; update"
                " adaqat-deploy"
            )
        info = TensorInfo(
            tuple(_int(size) for size in entry["shape"]),
            IntType.parse(_text(entry["type"])),
            float(entry["scale"]),
            _int(entry["zero"]),
        )
        op = _decode(REGISTRY[kind], entry["op"], arrays)
        inputs = tuple(_text(name) for name in entry["inputs"])
        nodes.append(Node(_text(entry["name"]), op, inputs, info, _text(entry["source"])))
    return Graph(_text(header["name"]), tuple(nodes), _text(header["output"]))


def _decode(kind: Any, value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Build a value of the declared type ``kind`` from JSON, refusing everything else."""
    origin = typing.get_origin(kind)
    if origin is np.ndarray:
        dtype = typing.get_args(typing.get_args(kind)[1])[0]
        found = arrays[value["array"]]
        if found.dtype != np.dtype(dtype):
            raise ValueError(f"array {value['array']} holds {found.dtype}, not {np.dtype(dtype)}")
        return found
    if origin is tuple:
        inner = typing.get_args(kind)
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(_decode(inner[0], entry, arrays) for entry in value)
        if len(inner) != len(value):
            raise ValueError(f"{len(value)} values where {len(inner)} are declared")
        return tuple(_decode(t, entry, arrays) for t, entry in zip(inner, value, strict=True))
    if kind is IntType:
        return IntType.parse(_text(value))
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = {item.name for item in fields(kind)}
        if set(value) != names:
            raise ValueError(f"fields {sorted(value)} where {sorted(names)} are declared")
        decoded = {name: _decode(hints[name], value[name], arrays) for name in names}
        return typing.cast(Any, kind)(**decoded)
    if kind is int:
        return _int(value)
    if kind is str:
        return _text(value)
    raise TypeError(f"field of type {kind} cannot be stored")


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} where an integer is declared")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 500 or not value.isprintable():
        raise ValueError(f"{value!r:.80} where a short printable text is declared")
    return value
