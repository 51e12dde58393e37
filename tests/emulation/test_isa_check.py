# SPDX-License-Identifier: Apache-2.0
"""The static proof that an image fits its core."""

from pathlib import Path

import pytest

from adaqat.deploy.elf import read_image
from adaqat.deploy.errors import ToolError
from adaqat.deploy.isa_check import check_isa, foreign_instructions
from adaqat.hw_models import core_names, load_core

from .conftest import BuildTiny


@pytest.mark.parametrize("kind", ["gcc", "zig"])
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m4"])
def test_own_images_pass(core: str, kind: str, build_tiny: BuildTiny) -> None:
    image = read_image(build_tiny(core, kind))
    assert foreign_instructions(image, load_core(core)) == []
    # Literal pools and the vector table are data; only code may be decoded.
    assert all(start >= 64 for start, _ in image.code_ranges)


def test_thumb2_is_refused_on_armv6m(build_tiny: BuildTiny) -> None:
    with pytest.raises(ToolError, match=r"instructions that Arm Cortex-M0\+ \(armv6-m\) does not"):
        check_isa(build_tiny("cortex-m3"), load_core("cortex-m0plus"))


def test_dsp_is_refused_on_armv7m(build_tiny: BuildTiny) -> None:
    # GCC multiplies the tiny model's halfwords with SMULBB on a core that has it.
    with pytest.raises(ToolError, match=r"smulbb .* in tiny_n0_scale"):
        check_isa(build_tiny("cortex-m4"), load_core("cortex-m3"))


def test_every_core_description_is_complete() -> None:
    for name in core_names():
        core = load_core(name)
        assert core.name == name
        assert core.unicorn is not None or core.qemu_machine is not None


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be read"):
        read_image(tmp_path / "none.elf")
    (tmp_path / "text.elf").write_text("hello")
    with pytest.raises(ToolError, match="not an ELF file"):
        read_image(tmp_path / "text.elf")
    with pytest.raises(ToolError, match="32-bit Arm and RISC-V images are"):
        read_image(Path("/proc/self/exe"))
