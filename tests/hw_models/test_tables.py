# SPDX-License-Identifier: Apache-2.0
"""Cost tables: look-ups by hand, and each message."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from adaqat import hw_models
from adaqat.hw_models import (
    HwModel,
    HwModelError,
    compilers,
    files,
    load_table,
    load_timing,
    timing_names,
)
from adaqat.hw_models import model as model_module
from adaqat.hw_models.core_timing import AVERAGE_RULES, BASE_RULES, RISCV_RULES
from adaqat.hw_models.files import parse
from adaqat.hw_models.work import Work

TABLE = """
name = "toy"
core = "cortex-m4"
board = "none"
clock_mhz = 100
claim = "made up"
run_bytes = [30, 12]
units = { instructions = "1" }
provenance = { command = "x", date = "2026-01-01", compiler = "gcc", compiler_version = "1", flags = "-O2", emulator = "unicorn 2", timing = "cortex-m4", timing_sha256 = "0", template_sha256 = "0" }
energy = { nj_per_cycle = 0.5, status = "published, derived", source = "nowhere" }
[[row]]
kind = "conv2d"
weight_bits = [2, 4]
act_bits = [8]
act_signed = [true, false]
features = { mac = [1.5, 2.0], layer = [100, 200] }
code_bytes = { plain = 300, border = 360 }
shared = { dot_w4u = 80, clamp = 20 }
samples = 4
median_error = [0.01, 0.01]
max_error = [0.01, 0.02]
"""  # noqa: E501


def toy(tmp_path: Path, text: str = TABLE) -> HwModel:
    path = tmp_path / "toy.toml"
    path.write_text(text)
    return load_table(path)


def work(weight_bits: int) -> Work:
    return priced(weight_bits, {"mac": 10, "layer": 1})


def priced(weight_bits: int, features: dict[str, int], form: str = "plain") -> Work:
    return Work("conv2d", weight_bits, 8, False, features, const_bytes=40, form=form)


class FakeGraph:
    def works(self, kernels: Sequence[str]) -> list[tuple[str, Work]]:
        return [("conv1", work(4)), ("conv2", work(2))]


def test_cost_is_the_weighted_sum(tmp_path: Path) -> None:
    cost = toy(tmp_path).node_cost(work(4))
    assert (cost.instructions, cost.cycles) == (115.0, 220.0)
    assert cost.energy_uj == pytest.approx(220 * 0.5 / 1000)
    assert (cost.code_bytes, cost.flash_bytes) == (300, 340)


def test_code_follows_the_form_and_shared_functions_count_once(tmp_path: Path) -> None:
    model = toy(tmp_path)
    border, unknown, plain = (
        model.node_cost(priced(4, {"mac": 1}, form)) for form in ("border", "new", "plain")
    )
    assert (border.code_bytes, unknown.code_bytes, plain.code_bytes) == (360, 360, 300)
    assert model.code_bytes([border, plain]) == 360 + 300 + 80 + 20 + 30 + 2 * 12
    assert model.code_bytes([]) == 30


def test_graph_costs_keep_names_and_constants(tmp_path: Path) -> None:
    costs = toy(tmp_path).cost(FakeGraph())
    assert [node.name for node in costs] == ["conv1", "conv2"]
    assert costs[0].cost.flash_bytes == 340


def test_unknown_energy_is_none(tmp_path: Path) -> None:
    text = TABLE.replace("nj_per_cycle = 0.5, ", "").replace("published, derived", "unknown")
    assert toy(tmp_path, text).cost(FakeGraph())[0].cost.energy_uj is None


def test_widths(tmp_path: Path) -> None:
    widths = toy(tmp_path).widths("conv2d")
    assert (widths.weight_bits, widths.act_bits) == ((2, 4), (8,))


def test_table_hash_follows_the_text(tmp_path: Path) -> None:
    assert toy(tmp_path).table_hash == toy(tmp_path).table_hash
    assert toy(tmp_path).table_hash != toy(tmp_path, TABLE + "# edited\n").table_hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("core =", "cor ="), r"core: Field required; cor: Extra inputs are not permitted"),
        (("plain = 300", "plain = -1"), r"row\.0\.code_bytes\.plain: .*correct the file"),
        (("name = ", "name == "), "not valid TOML"),
        (("weight_bits = [2, 4]", "weight_bits = [2, 2]"), "two rows for conv2d with 2-bit"),
    ],
)
def test_malformed_tables(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(HwModelError, match=message):
        toy(tmp_path, TABLE.replace(*change))


def test_look_up_errors(tmp_path: Path) -> None:
    model = toy(tmp_path)
    with pytest.raises(HwModelError, match=r"no rows for 'linear'; it has conv2d; measure"):
        model.widths("linear")
    with pytest.raises(HwModelError, match=r"3-bit weights and 8-bit unsigned.*\[2, 4\].*\[8\]"):
        model.node_cost(priced(3, {}))
    with pytest.raises(HwModelError, match=r"no price for gather; the row has layer, mac; measure"):
        model.node_cost(priced(4, {"mac": 1, "gather": 2}))


def test_a_feature_no_layer_had_is_priced_as_at_the_nearest_widths(tmp_path: Path) -> None:
    rows = "".join(
        TABLE[TABLE.index("[[row]]") :]
        .replace("weight_bits = [2, 4]", f"weight_bits = [{bits}]")
        .replace("{ mac = [1.5, 2.0]", f"{{ rest = [{bits}.0, 9.0], mac = [1.5, 2.0]")
        for bits in (1, 8)
    )
    model = toy(tmp_path, TABLE + rows)
    near, far = model.node_cost(priced(2, {"rest": 1})), model.node_cost(priced(4, {"rest": 1}))
    assert (near.instructions, far.instructions) == (1, 1)  # a row of 2 and 4 bits counts as 3
    assert model.node_cost(priced(8, {"rest": 1})).instructions == 8
    with pytest.raises(HwModelError, match="no price for gather"):
        model.node_cost(priced(4, {"gather": 2}))


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(HwModelError, match="there is no 'cortex-m99'; known are"):
        hw_models.load("cortex-m99")
    with pytest.raises(HwModelError, match="known are cortex-m0, cortex-m0plus"):
        hw_models.load_core("z80")
    with pytest.raises(HwModelError, match="cannot be read"):
        load_table(Path("/nowhere/table.toml"))


def test_shipped_tables_load() -> None:
    for name in hw_models.names():
        model = hw_models.load(name)
        assert model.name == name
        assert hw_models.load_core(model.table.core)


def test_shipped_timings_are_complete_and_sourced() -> None:
    assert {"cortex-m0plus", "cortex-m4"} <= set(timing_names())
    for name in timing_names():
        timing = load_timing(name)
        assert timing.core == name
        wanted = {"fixed-riscv": RISCV_RULES, "average": AVERAGE_RULES}.get(
            timing.engine, BASE_RULES
        )
        assert set(wanted) <= set(timing.rule)
        assert all(rule.source for rule in timing.rule.values())
    assert "branch_taken" in load_timing("cortex-m4").weak_rules
    assert load_timing("cortex-m0plus").weak_rules == ("mul",)


NO_CYCLES = (
    TABLE.replace('timing = "cortex-m4", timing_sha256 = "0", ', "")
    .replace("mac = [1.5, 2.0], layer = [100, 200]", "mac = [1.5], layer = [100]")
    .replace("0.01, 0.0", "0.0")
    .replace('board = "none"\nclock_mhz = 100\n', "")
)


def test_a_table_without_cycles_says_so_everywhere(tmp_path: Path) -> None:
    model = toy(tmp_path, NO_CYCLES)
    cost = model.node_cost(work(4))
    assert (cost.instructions, cost.cycles, cost.energy_uj) == (115.0, None, None)
    assert (model.has_cycles, model.clock_mhz) == (False, None)
    assert model.latency_ms(cost.cycles) is None and model.latency_ms(5.0) is None
    assert cost.flash_bytes == 340


def test_cycles_are_in_all_rows_or_in_none(tmp_path: Path) -> None:
    with pytest.raises(HwModelError, match=r"layer: 1 figures; .*with a cycle model has 2"):
        toy(tmp_path, TABLE.replace("layer = [100, 200]", "layer = [100]"))


def shipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``folder`` the package's tables: one by GCC, one by zig with other code sizes."""
    (folder / "toy.toml").write_text(TABLE)
    zig = TABLE.replace('compiler = "gcc"', 'compiler = "zig"')
    zig = zig.replace("plain = 300", "plain = 290")
    (folder / "toy.zig.toml").write_text(zig)
    texts = {path.name.removesuffix(".toml"): path.read_text() for path in folder.iterdir()}
    monkeypatch.setattr(files, "available", lambda kind: tuple(sorted(texts)))
    monkeypatch.setattr(model_module, "available", lambda kind: tuple(sorted(texts)))
    monkeypatch.setattr(
        model_module, "load_record", lambda _, name, record: (parse(texts[name], record, name), "0")
    )


@pytest.mark.parametrize(
    ("programs", "forced", "code"),
    [
        (("arm-none-eabi-gcc", "ziglang"), None, 300),
        (("ziglang",), None, 290),
        ((), None, 300),
        (("arm-none-eabi-gcc", "ziglang"), "zig", 290),
        (("ziglang",), "/opt/bin/some-gcc", 300),
    ],
)
def test_the_table_is_that_of_the_compiler_that_builds(
    programs: tuple[str, ...],
    forced: str | None,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipped(tmp_path, monkeypatch)
    monkeypatch.delenv("ADAQAT_CC", raising=False)
    if forced:
        monkeypatch.setenv("ADAQAT_CC", forced)
    monkeypatch.setattr(compilers.shutil, "which", lambda name: name in programs or None)
    monkeypatch.setattr(
        compilers.importlib.util, "find_spec", lambda name: name in programs or None
    )
    assert hw_models.load("toy").node_cost(work(4)).code_bytes == code
    assert hw_models.names() == ("toy",)
    assert hw_models.load("toy", compiler="zig").node_cost(work(4)).code_bytes == 290


@pytest.mark.parametrize("architecture", ["arm", "riscv"])
@pytest.mark.parametrize("forced", [None, "gcc", "zig"])
def test_the_chosen_compiler_is_the_one_that_builds(
    architecture: str, forced: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adaqat.deploy.errors import ToolError
    from adaqat.deploy.toolchain import find_toolchain

    monkeypatch.delenv("ADAQAT_CC", raising=False)
    if forced:
        monkeypatch.setenv("ADAQAT_CC", forced)
    try:
        builds = find_toolchain(architecture=architecture).kind
    except ToolError as error:
        pytest.skip(str(error))
    assert compilers.compiler_here(architecture) == builds
