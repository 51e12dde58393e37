# SPDX-License-Identifier: Apache-2.0
"""Remembered counts: hits, misses, damage, and what shares an entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaqat.deploy import counted_models, targets
from adaqat.deploy.batch_image import Traced, unique_blocks
from adaqat.deploy.check import check
from adaqat.deploy.count_cache import CountCache, default_folder, key_of
from adaqat.deploy.counted_models import Counted, count_models
from adaqat.deploy.device import Device
from adaqat.deploy.emit import CModel, layout
from adaqat.deploy.errors import ToolError, UsageError
from adaqat.deploy.measure import measure_tables
from adaqat.deploy.measured_cases import MEASURED, cases
from adaqat.deploy.qemu import qemu_missing
from adaqat.deploy.toolchain import find_toolchain
from adaqat.deploy.types import IntType
from adaqat.deploy.vectors import make_inputs
from adaqat.hw_models import load_core

U8 = IntType(8, False)
ENTRY = {"instructions": 7, "list": [1, 2]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "counts"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many networks each image held, as they are built."""
    try:
        find_toolchain()
    except ToolError as error:
        pytest.skip(str(error))
    sizes: list[int] = []
    real = counted_models.trace_batch

    def spy(models, *rest):
        sizes.append(len(models))
        return real(models, *rest)

    monkeypatch.setattr(counted_models, "trace_batch", spy)
    return sizes


def models(target: str = "cortex-m4", kind: str = "linear", bits: int = 4) -> list[CModel]:
    chosen = [case for case in cases() if case.kind == kind][:3]
    return [
        layout(check(case.build(U8, bits)), targets.get(target), MEASURED) for case in chosen
    ]


def counted(of: list[CModel], folder: Path, core: str = "cortex-m4") -> list[Counted]:
    return count_models(of, load_core(core), find_toolchain(), CountCache(folder))


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_entry_comes_back_and_no_other(folder: Path) -> None:
    cache = CountCache(folder)
    cache.put("ab" * 32, ENTRY)
    assert CountCache(folder).get("ab" * 32) == ENTRY
    assert cache.get("cd" * 32) is None
    CountCache(None).put("ab" * 32, ENTRY)
    assert CountCache(None).get("ab" * 32) is None


@pytest.mark.parametrize("damage", ["flipped", "short", "empty", "foreign", "moved", "no file"])
def test_a_damaged_entry_is_never_believed(damage: str, folder: Path) -> None:
    cache = CountCache(folder)
    cache.put("ab" * 32, ENTRY)
    (path,) = entries(folder)
    raw = path.read_bytes()
    key = "ab" * 32
    if damage == "flipped":
        for at in range(len(raw)):
            path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
            assert cache.get(key) is None, at
    elif damage == "moved":  # an entry under another's name
        key = "ab" + "ba" * 31
        path.rename(path.with_name(key[2:]))
        assert cache.get(key) is None
    elif damage == "no file":
        path.unlink()
        path.mkdir()
        assert cache.get(key) is None
        cache.put(key, ENTRY)  # cannot be replaced: ignored
    else:
        path.write_bytes({"short": raw[:-1], "empty": b"", "foreign": b"x" * len(raw)}[damage])
        assert cache.get(key) is None
        cache.put(key, ENTRY)
        assert cache.get(key) == ENTRY


def test_keys_follow_every_part_and_not_their_order() -> None:
    assert key_of({"a": "1", "b": "2"}) == key_of({"b": "2", "a": "1"})
    assert len({key_of({"a": "1", "b": "2"}), key_of({"a": "12"}), key_of({"a": "1b2"})}) == 3


def test_the_default_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert default_folder() == Path("/some/where/adaqat/counts")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder().is_relative_to(Path.home())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/x: cannot hold measured counts .*--no-cache"):
        CountCache(tmp_path / "file" / "x")


def test_the_second_time_nothing_is_built(compiled: list[int], folder: Path) -> None:
    first = counted(models(), folder)
    assert compiled == [3] and len(entries(folder)) == 3
    assert counted(models(), folder) == first
    assert compiled == [3]
    # One network changed: only it is built.
    other = [*models()[:2], models(bits=3)[0]]
    assert counted(other, folder)[:2] == first[:2]
    assert compiled == [3, 1]


def test_damage_is_counted_again(compiled: list[int], folder: Path) -> None:
    first = counted(models(), folder)
    entries(folder)[1].write_bytes(b"rubbish")
    assert counted(models(), folder) == first
    assert compiled == [3, 1]


def test_another_core_flag_or_compiler_is_another_count(
    compiled: list[int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted(models(), folder)
    counted(models(), folder, "cortex-m33")
    monkeypatch.setattr("adaqat.deploy.toolchain.GCC_FLAGS", ("-falign-functions=8",))
    monkeypatch.setattr("adaqat.deploy.toolchain.ZIG_FLAGS", {"arm": ("-falign-functions=8",)})
    counted(models(), folder)
    monkeypatch.setattr(counted_models, "_harness", lambda: "another harness")
    counted(models(), folder)
    assert compiled == [3, 3, 3, 3]


def test_cores_with_the_same_code_share_counts_and_not_cycles(
    compiled: list[int], folder: Path
) -> None:
    plus = counted(models("cortex-m0plus"), folder, "cortex-m0plus")
    zero = counted(models("cortex-m0"), folder, "cortex-m0")
    assert compiled == [3]
    for one, other in zip(plus, zero, strict=True):
        assert one.instructions == other.instructions and one.code_bytes == other.code_bytes
        assert one.cycles is not None and other.cycles is not None
        assert one.cycles < other.cycles, "a taken branch costs more on Cortex-M0"


@pytest.mark.parametrize("kind", ["linear", "conv2d", "depthwise_conv2d", "avgpool2d"])
def test_shared_code_is_the_same_code(kind: str, tmp_path: Path) -> None:
    """What ``code_of`` claims: GCC gives both cores the same bytes."""
    toolchain = find_toolchain()
    if toolchain.kind != "gcc":
        pytest.skip("tables of these cores are measured with GCC")
    for name in ("cortex-m0",):
        core = load_core(name)
        assert core.code_of is not None
        for model in models(name, kind):
            images = []
            for built in (name, core.code_of):
                with Device(model, built, toolchain=toolchain) as device:
                    images.append(device.image(tap=False).read_bytes())
            assert images[0] == images[1]


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m0plus", "riscv32"])
@pytest.mark.parametrize("kind", ["depthwise_conv2d", "maxpool2d"])
def test_a_batch_counts_what_the_networks_count_alone(kind: str, target: str) -> None:
    core = load_core(target)
    try:
        toolchain = find_toolchain(architecture=core.architecture)
    except ToolError as error:
        pytest.skip(str(error))
    of = models(target, kind)
    together = count_models(of, core, toolchain, CountCache(None))
    for model, found in zip(of, together, strict=True):
        with Device(model, target, toolchain=toolchain) as device:
            count = device.count(make_inputs(model.graph, samples=1, seed=1, extremes=False))
        assert count is not None
        alone = count.nodes[MEASURED]
        assert (found.instructions, found.taken) == (alone.instructions, alone.taken_branches)
        if toolchain.kind == "gcc" or target == "riscv32":  # zig does not align functions
            assert found.cycles == alone.cycles
        assert found.code_bytes == count.node_code_bytes[MEASURED]
        assert found.functions == count.functions


def test_a_trace_survives_json() -> None:
    full = Traced(9, 4, {"dot": 3}, {16: b"\x00\xbf"}, ((16, 18, 4),))
    assert Traced.from_json(full.to_json()) == full
    counts_only = Traced(9, 4, {}, None, None)
    assert Traced.from_json(counts_only.to_json()) == counts_only


def test_several_targets_from_one_cache(compiled: list[int], folder: Path) -> None:
    names = ["cortex-m0plus", "cortex-m0", "cortex-m7"]
    chosen = {"kinds": ["add"]}
    tables = measure_tables(names, cache=folder, **chosen)
    assert [table.name for table in tables] == names
    built = sum(compiled)
    again = measure_tables(names, cache=folder, workers=2, **chosen)
    assert again == tables and sum(compiled) == built
    plus, zero, m7 = tables
    assert plus.row[0].features.keys() == zero.row[0].features.keys()
    assert "-mcpu=cortex-m0plus" in zero.provenance.flags
    # One average for all instructions: cycles are instructions times it.
    for row in m7.row:
        for instructions, cycles in row.features.values():
            assert cycles == pytest.approx(0.81 * instructions, rel=2e-3, abs=1e-3)


def test_a_core_without_cycles_and_generic_c(folder: Path, compiled: list[int]) -> None:
    (riscv, generic) = measure_tables(["riscv32", "c99"], cache=folder, kinds=["requantize"])
    assert compiled, "counted on the reference core"
    assert sum(compiled) == len(entries(folder)), "c99 took the counts of riscv32"
    assert (generic.board, generic.clock_mhz, generic.has_cycles) == (None, None, False)
    assert generic.core == "riscv32" and "portable kernels" in generic.claim
    for one, other in zip(riscv.row, generic.row, strict=True):
        assert {k: v[0] for k, v in one.features.items()} == {
            k: v for k, (v,) in other.features.items()
        }
        assert len(other.max_error) == 1


def test_blocks_of_several_lengths_at_one_address_are_cut_alike() -> None:
    # 0x10 ran 5 times as 12 bytes to 0x40, 3 times as 4 bytes to 0x14 and on as 8 bytes to 0x50
    edges = [(0x10, 12, 0x40, 5), (0x10, 4, 0x14, 3), (0x14, 8, 0x50, 3)]
    sizes, transitions = unique_blocks(edges)
    assert sizes == {0x10: 4, 0x14: 8}
    assert transitions == [(0x10, 0x14, 8), (0x14, 0x40, 5), (0x14, 0x50, 3)]


def test_a_batch_in_qemu_counts_what_the_networks_count_alone() -> None:
    core = load_core("cortex-m55")
    reason = qemu_missing(core)
    if reason:
        pytest.skip(reason)
    of = models("cortex-m55")
    together = count_models(of, core, find_toolchain(), CountCache(None))
    for model, found in zip(of, together, strict=True):
        with Device(model, "cortex-m55") as device:
            count = device.count(make_inputs(model.graph, samples=1, seed=1, extremes=False))
        assert count is not None
        alone = count.nodes[MEASURED]
        assert found.instructions == alone.instructions
        assert found.cycles == pytest.approx(alone.cycles, rel=0.02)
