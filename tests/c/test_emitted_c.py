# SPDX-License-Identifier: Apache-2.0
"""What the emitted files promise: strict compilers, no libc, two models in one, same bytes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from nets import Maker, every_operator, graph, input_node, narrow_images

from adaqat.deploy import IntType, Node, build, save, verify
from adaqat.deploy.host import STRICT
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.vectors import make_inputs

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
CROSS = shutil.which("arm-none-eabi-gcc")


@pytest.fixture(scope="module", params=[(3, 4, False), (8, 8, True), (1, 1, False)])
def artefact(request, tmp_path_factory):
    weight_bits, act_bits, signed = request.param
    net = every_operator(weight_bits, act_bits, signed=signed)
    return build(net, "cortex-m4", tmp_path_factory.mktemp("out") / "net", name="net")


def compile_(command, source, *flags):
    # a real file: Zig's driver puts the object in the current folder when told to discard it
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*command, *flags, str(source), "-c", "-o", f"{folder}/unit.o"],
                              capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[:2000]


def units(artefact):
    return sorted(artefact.directory.glob("*.c"))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_host_compilers_are_silent(artefact, compiler):
    for unit in units(artefact):
        for level in ("-O0", "-O2", "-Os"):
            compile_([compiler], unit, *STRICT, "-ffreestanding", level)


@pytest.mark.skipif("gcc" not in COMPILERS, reason="gcc is not installed")
def test_gcc_analyser_and_strict_alignment_are_silent(artefact):
    for unit in units(artefact):
        compile_(["gcc"], unit, *STRICT, "-Wcast-align=strict", "-fanalyzer", "-O2")


@pytest.mark.skipif(not CROSS, reason="arm-none-eabi-gcc is not installed")
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m33"])
def test_arm_gcc_is_silent_and_calls_no_library(artefact, core, tmp_path):
    for unit in units(artefact):
        flags = [*STRICT, "-Wcast-align=strict", "-ffreestanding", f"-mcpu={core}", "-mthumb"]
        compile_([CROSS], unit, *flags, "-O3")
        target = tmp_path / "unit.o"
        subprocess.run([CROSS, *flags, "-O2", "-c", str(unit), "-o", str(target)], check=True)
        listing = subprocess.run(["arm-none-eabi-nm", "-u", str(target)], capture_output=True,
                                 text=True, check=True).stdout.split()  # fmt: skip
        outside = {word for word in listing if word != "U"} - {"net_run"}
        assert outside <= {"memcpy", "memset"}, outside


@pytest.mark.parametrize(
    "flags",
    [
        ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus"),
        ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c"),
    ],
)
def test_zig_is_silent(artefact, flags):
    pytest.importorskip("ziglang")
    command = [sys.executable, "-m", "ziglang", "cc", *flags, "-ffreestanding"]
    for unit in units(artefact):
        compile_(command, unit, *STRICT, "-O2")


@pytest.mark.parametrize("target", ["c99", "cortex-m0plus", "cortex-m3", "cortex-m4", "riscv32"])
@pytest.mark.parametrize("bits", [(8, 8), (2, 3)])
def test_images_narrower_than_their_windows(target, bits, tmp_path):
    net = narrow_images(*bits, signed=bits[1] == 8)
    artefact = build(net, target, tmp_path / "net", name="net")
    zig = [sys.executable, "-m", "ziglang", "cc"] if find_spec("ziglang") else []
    for compiler in ([name] for name in COMPILERS):
        for unit in units(artefact):
            compile_(compiler, unit, *STRICT, "-ffreestanding", "-O2")
    cross = [CROSS] if CROSS else [*zig, "-target", "thumb-freestanding-eabi"]
    if target.startswith("cortex"):
        name = target if CROSS else target.replace("-", "_")
        for unit in units(artefact):
            compile_(cross, unit, *STRICT, "-ffreestanding", f"-mcpu={name}", "-mthumb", "-O2")
    assert verify(net, target, make_inputs(net, samples=24), executor="host").mismatches == 0


def alone(kind):
    """A network of one operator: helpers that only another operator calls would show here."""
    make, act = Maker(3, 4), IntType(8, False)
    x = input_node((9, 9, 6), act)
    node = {
        "max": lambda: Node.make("y", MaxPool2d(Window((3, 3), (2, 2), (1, 1), (1,) * 4)), (x,)),
        "mean": lambda: make.avgpool("y", x, act, kernel=(3, 3), stride=(2, 2)),
        "global": lambda: make.avgpool("y", x, act, kernel=(9, 9)),
        "add": lambda: make.add("y", [x, x], act),
        "requantize": lambda: make.requantize("y", x, IntType(4, False)),
        "conv": lambda: make.conv("y", x, 7, act),
        "depthwise": lambda: make.depthwise("y", x, act),
        "strided": lambda: make.depthwise("y", x, act, stride=(2, 2)),
    }[kind]()
    return graph(x, node)


@pytest.mark.skipif("clang" not in COMPILERS, reason="clang is not installed")
@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize(
    "kind", ["max", "mean", "global", "add", "requantize", "conv", "depthwise", "strided"]
)
def test_no_helper_is_left_unused(target, kind, tmp_path):
    artefact = build(alone(kind), target, tmp_path / "net", name="net")
    for unit in units(artefact):
        compile_(["clang"], unit, *STRICT, "-ffreestanding", "-O2")


@pytest.mark.skipif(not shutil.which("g++"), reason="g++ is not installed")
def test_header_is_clean_in_cpp(artefact, tmp_path):
    source = tmp_path / "use.cpp"
    source.write_text('#include "net.h"\nint main() { return net_model_id() == 0u; }\n')
    compile_(["g++"], source, "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Wold-style-cast",
             "-Werror", f"-I{artefact.directory}")  # fmt: skip


def test_no_heap_no_float_no_includes_but_stdint(artefact):
    for unit in [*units(artefact), artefact.directory / "net.h"]:
        text = unit.read_text()
        code = "".join(part.split("*/")[-1] for part in text.split("/*"))
        for word in ("malloc", "float", "double", "printf", "int64_t"):
            assert word not in code
        includes = {line for line in text.splitlines() if line.startswith("#include")}
        assert includes <= {"#include <stdint.h>", '#include "net.h"'}


def test_two_models_link_into_one_program(tmp_path):
    for name, bits in (("first", 3), ("second", 5)):
        build(every_operator(bits, 4, signed=False), "c99", tmp_path / name, name=name)
    main = tmp_path / "main.c"
    main.write_text(
        '#include "first/first.h"\n#include "second/second.h"\n'
        "static first_ctx_t a; static second_ctx_t b;\n"
        "int main(void) { return (first_self_test(&a) != 0) + 2 * (second_self_test(&b) != 0)"
        " + 4 * (first_model_id() == second_model_id()) + 8 * (first_self_test(0) != -1); }\n"
    )
    sources = [str(p) for n in ("first", "second") for p in (tmp_path / n).glob("*.c")]
    program = tmp_path / "main"
    subprocess.run(["cc", "-std=c99", "-fsanitize=address,undefined", "-fno-sanitize-recover",
                    str(main), *sources, f"-I{tmp_path / 'first'}", f"-I{tmp_path / 'second'}",
                    "-o", str(program)], check=True)  # fmt: skip
    assert subprocess.run([str(program)], check=False).returncode == 0


def test_a_flipped_weight_bit_fails_the_self_test(tmp_path):
    out = tmp_path / "net"
    build(every_operator(8, 8, signed=False), "c99", out, name="net")
    text = (out / "net.c").read_text()
    head = "_last_w["
    start = text.index("{", text.index(head)) + 1
    end = text.index("}", start)
    values = [int(v) for v in text[start:end].split(",")]
    changed = ", ".join(str(v ^ 0x80) for v in values)
    (out / "net.c").write_text(text[:start] + changed + text[end:])
    main = tmp_path / "main.c"
    main.write_text('#include "net.h"\nstatic net_ctx_t c;\n'
                    "int main(void) { return -(int)net_self_test(&c); }\n")  # fmt: skip
    program = tmp_path / "main"
    subprocess.run(["cc", "-std=c99", f"-I{out}", str(main), *map(str, out.glob("*.c")), "-o",
                    str(program)], check=True)  # fmt: skip
    assert subprocess.run([str(program)], check=False).returncode == 2


def test_same_model_same_bytes(tmp_path, run_python):
    net = every_operator(3, 5, signed=True)
    first = build(net, "cortex-m4", tmp_path / "a", name="net")
    save(net, tmp_path / "net.adaqat")
    script = (
        "import sys; from adaqat.deploy import build, load\n"
        "build(load(sys.argv[1]), 'cortex-m4', sys.argv[2], name='net')\n"
    )
    for run, seed in enumerate(("1", "77")):
        out = tmp_path / f"b{run}"
        done = run_python("-c", script, str(tmp_path / "net.adaqat"), str(out), cwd=tmp_path,
                          PYTHONHASHSEED=seed, LC_ALL="C", TZ="Asia/Tokyo")  # fmt: skip
        assert done.returncode == 0, done.stderr
        for file in sorted(first.directory.iterdir()):
            assert (out / file.name).read_bytes() == file.read_bytes(), file.name


def test_manifest_lists_every_file_with_its_hash(artefact):
    import hashlib

    manifest = json.loads((artefact.directory / "manifest.json").read_text())
    names = {p.name for p in artefact.directory.iterdir()} - {"manifest.json"}
    assert set(manifest["files"]) == names
    for name, digest in manifest["files"].items():
        data = (artefact.directory / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
    for text in (artefact.directory / "net.c").read_text(), json.dumps(manifest):
        assert str(Path.home()) not in text and str(artefact.directory) not in text


def test_context_size_is_the_stated_ram(artefact, tmp_path):
    source = tmp_path / "size.c"
    words = artefact.model.ram_words
    check = f"typedef char c[sizeof(net_ctx_t) == {4 * words} ? 1 : -1];"
    source.write_text(f'#include "net.h"\n{check}\nextern c used;\n')
    compile_(["cc"], source, "-std=c99", f"-I{artefact.directory}")
