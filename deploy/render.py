# SPDX-License-Identifier: Apache-2.0
"""The Jinja environment: strict, quiet about blank lines, with the few filters templates need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import jinja2

from .errors import UsageError

NUMBERS_PER_LINE = 16
C_WORDS = frozenset(
    """auto break case char const continue default do double else enum extern float for goto if
    inline int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while _Bool _Complex _Imaginary alignas alignof and and_eq asm atomic
    bitand bitor bool catch class compl concept const_cast constexpr decltype delete dynamic_cast
    explicit export false friend main memcpy memset mutable namespace new noexcept not not_eq
    nullptr operator or or_eq private protected public reinterpret_cast requires static_assert
    static_cast template this thread_local throw true try typeid typename using virtual wchar_t
    xor xor_eq""".split()
)


@cache
def environment() -> jinja2.Environment:
    """The one environment; a missing value is an error, never an empty string."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("adaqat.templates", package_path=""),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    env.filters["c_numbers"] = c_numbers
    return env


def render(template: str, **values: Any) -> str:
    """Text of a template; names are relative to the templates package."""
    return environment().get_template(template).render(**values)


def exists(template: str) -> bool:
    """Whether a template is there."""
    try:
        environment().get_template(template)
    except jinja2.TemplateNotFound:
        return False
    return True


def c_numbers(values: Sequence[int]) -> str:
    """Initialiser lines of an array."""
    lines = []
    for start in range(0, len(values), NUMBERS_PER_LINE):
        part = ", ".join(str(value) for value in values[start : start + NUMBERS_PER_LINE])
        lines.append(f"    {part}")
    return ",\n".join(lines)


def c_name(name: str) -> str:
    """The name when it is a usable C prefix.

    Raises:
        UsageError: otherwise.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name) or name in C_WORDS:
        raise UsageError(
            f"--name: {name!r}; up to 31 lower-case letters, digits and underscores, starting with"
            " a letter and no C or C++ keyword, are supported; choose another name"
        )
    return name


def label(text: str) -> str:
    """A piece of a C identifier made from any text; never empty, never longer than 40."""
    cleaned = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return cleaned[:40] or "node"


def comment(text: str) -> str:
    """Text that cannot end a C comment or leave its line."""
    printable = re.sub(r"[^ -~]+", "?", text)
    return printable.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/")[:200]
