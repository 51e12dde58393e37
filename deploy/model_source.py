# SPDX-License-Identifier: Apache-2.0
"""What the command line's MODEL means, and the inputs it is verified with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .errors import UnsupportedError, UsageError
from .frontends.onnx import import_onnx
from .frontends.tflite import import_tflite
from .graph import Graph
from .model_file import load
from .shipped import shipped_model, shipped_test_split
from .types import IntArray
from .vectors import make_inputs
from .verification import as_codes

RUN_MODEL = "model.adaqat"
"""The deployable model inside a training run's folder."""
RUN_RESULT = "result.json"
"""Its figures, with a reason for every width."""
NOT_READ = {".pt": "PyTorch", ".pth": "PyTorch"}


def open_model(
    model: Path | None, rounding: str = "tflite", output_scale: float | None = None
) -> Graph:
    """The graph of a model file, of a training run's folder, or the shipped one for None.

    Args:
        model: an ``.adaqat``, ``.tflite`` or ``.onnx`` file, or a folder.
        rounding: of .tflite models, see `import_tflite`.
        output_scale: of .onnx models, see `import_onnx`.

    Raises:
        UsageError: a folder that holds no model, or an output scale for another kind of model.
        UnsupportedError: a kind of model that this release does not read.
        ModelFileError: missing, truncated, foreign or inconsistent.
    """
    path = shipped_model() if model is None else model
    kind = NOT_READ.get(path.suffix.lower())
    if kind:
        raise UnsupportedError(
            [
                f"{path}: a {kind} model; .adaqat, .tflite and .onnx files and training runs are"
                " supported in this release; train the PyTorch module with adaqat.train and save"
                " its graph"
            ]
        )
    if is_onnx(path):
        return import_onnx(path, output_scale=output_scale)
    if output_scale is not None:
        raise UsageError(
            f"--output-scale {output_scale:g}: {path.name} has its own output scale; .onnx models"
            " with a real output need one; leave it out"
        )
    if is_tflite(path):
        return import_tflite(path, rounding=rounding)
    if path.is_dir():
        if not (path / RUN_MODEL).is_file():
            raise UsageError(
                f"{path}: a folder without {RUN_MODEL}; a finished training run has one; let the"
                " training finish, or give an .adaqat file"
            )
        path = path / RUN_MODEL
    return load(path)


def run_reasons(model: Path | None) -> list[dict[str, str]]:
    """``name`` and ``why`` of every width of a training run; empty where the model is no run."""
    if model is None or not (model / RUN_RESULT).is_file():
        return []
    try:
        found = json.loads((model / RUN_RESULT).read_text(encoding="utf-8")).get("why", [])
        return [{"name": str(row["name"]), "why": str(row["why"])} for row in found]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{model / RUN_RESULT}: cannot be read ({error!r}); the figures of a training run are "
            "expected; train again, or give the .adaqat file in it"
        ) from error


def is_tflite(model: Path | None) -> bool:
    """Whether the model is a .tflite file."""
    return model is not None and model.suffix.lower() == ".tflite" and not model.is_dir()


def is_onnx(model: Path | None) -> bool:
    """Whether the model is an .onnx file."""
    return model is not None and model.suffix.lower() == ".onnx" and not model.is_dir()


def verification_inputs(
    graph: Graph, model: Path | None, samples: int, seed: int, file: Path | None
) -> IntArray:
    """Input codes: generated ones, the shipped test split for the shipped model, and the user's.

    Args:
        graph: the network.
        model: as given to `open_model`.
        samples: number of generated inputs.
        seed: of the random ones.
        file: an ``.npy`` array of the user, or None.
    """
    parts = [make_inputs(graph, samples=samples, seed=seed)]
    if model is None:
        parts.append(shipped_test_split()[0])
    if file is not None:
        parts.append(read_inputs(graph, file))
    return np.concatenate(parts)


def read_inputs(graph: Graph, file: Path) -> IntArray:
    """Codes of an ``.npy`` array: floats in the source model's layout, or integer codes.

    Raises:
        UsageError: missing, no plain numeric ``.npy`` array, or of the wrong shape or range.
    """
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(
            f"--inputs {file}: cannot be read ({error}); an .npy file with one numeric array"
            " [N, ...] is needed; write it with numpy.save"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or array.ndim < 2:
        raise UsageError(
            f"--inputs {file}: {getattr(array, 'dtype', 'several arrays')} found; one array"
            " [N, ...] of floats or integers is needed; write it with numpy.save"
        )
    return as_codes(graph, array)
