# SPDX-License-Identifier: Apache-2.0
"""Cost tables: look-ups by hand, and each message."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from adaqat import hw_models
from adaqat.hw_models import HwModel, HwModelError, load_table, load_timing, timing_names
from adaqat.hw_models.core_timing import BASE_RULES
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
        (("board =", "bord ="), r"board: Field required; bord: Extra inputs are not permitted"),
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
        assert set(BASE_RULES) <= set(timing.rule)
        assert all(rule.source for rule in timing.rule.values())
    assert "branch_taken" in load_timing("cortex-m4").weak_rules
    assert load_timing("cortex-m0plus").weak_rules == ("mul",)
