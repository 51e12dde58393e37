# SPDX-License-Identifier: Apache-2.0
"""``python -m adaqat.deploy`` is ``adaqat-deploy``."""

from __future__ import annotations

from .cli import deploy_main

if __name__ == "__main__":
    deploy_main()
