# SPDX-License-Identifier: Apache-2.0
"""The one error of this package."""


class HwModelError(Exception):
    """A table is missing, malformed, or has no entry for what was asked.

    The text follows "<thing>: <found>; <supported>; <what to do>".
    ``exit_code`` has the meaning it has on the errors of ``adaqat.deploy`` (2: wrong usage),
    which this package may not import.
    """

    exit_code = 2
