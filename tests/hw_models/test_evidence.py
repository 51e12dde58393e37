# SPDX-License-Identifier: Apache-2.0
"""The page of evidence is what the files say, bad errors included."""

from pathlib import Path

import pytest

from adaqat.hw_models import HwModelError, load_timing, timing_names
from adaqat.hw_models.evidence import evidence, with_evidence

PAGE = Path(__file__).parents[2] / "docs/cycles-and-boards.md"


def test_the_page_is_current() -> None:
    text = PAGE.read_text()
    assert with_evidence(text) == text, (
        "run: python -m adaqat.hw_models.evidence docs/cycles-and-boards.md"
    )


def test_the_worst_errors_are_shown() -> None:
    text = evidence()
    for name in timing_names():
        for case in load_timing(name).validation:
            assert f"{case.error_percent[0]:+.1f}" in text and case.case in text
    assert "-27.5 %" in text


@pytest.mark.parametrize("name", timing_names())
def test_errors_follow_from_their_figures(name: str) -> None:
    for case in load_timing(name).validation:
        if case.measured is not None and case.model is not None:
            error = 100 * (case.model / case.measured - 1)
            # figures are printed with two or three digits
            assert error == pytest.approx(case.error_percent[0], abs=2.0)


def test_a_page_without_markers() -> None:
    with pytest.raises(HwModelError, match="no markers found"):
        with_evidence("nothing here")
