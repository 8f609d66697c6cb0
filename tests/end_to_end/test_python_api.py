"""`estimate` and `compare` from Python: objects as kernels, numpy's integers, wrong types."""

from __future__ import annotations

import re
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mixers
import numpy as np
import pytest
import torch
from saved_tables import ENDINGS, run
from torch import nn
from workloads import HEADS, HIDDEN, sliding

import attnprof
from attnprof import AttentionPattern, AttentionStack, Workload
from attnprof.core import formulas
from attnprof.core.errors import MeasurementError, UsageError

SMALL: dict[str, Any] = {"hidden_size": HIDDEN, "num_heads": HEADS}
HERE = "runs in this process: other processes cannot import it by name"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) @ x.mT


def test_the_version_is_that_of_the_package() -> None:
    assert attnprof.__version__ == version("attnprof")


def test_modules_classes_and_functions_are_kernels() -> None:
    class Local(Net):
        """A class that cannot be imported by name."""

    def scores(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return query @ key.mT

    layers = nn.Sequential(nn.Linear(HIDDEN, HIDDEN))  # iterable, but one kernel
    objects = [Net(), Local, scores, layers, "bert-sdpa", mixers.Dense]
    rows = attnprof.estimate(kernel=objects, len=16, **SMALL).rows
    macs = [row.integer("executed_macs") for row in rows]
    linear, pairs = 16 * HIDDEN**2, 16**2 * HIDDEN
    expected = [linear + pairs, linear + pairs, pairs, linear, 3 * linear + 2 * pairs]
    assert macs == [*expected, linear + 2 * pairs]
    assert [row.detail for row in rows] == [*[HERE] * 4, "", ""]
    assert rows[-1].kernel == "mixers:Dense"
    (alone,) = attnprof.estimate(kernel=layers, len=16, **SMALL).rows
    assert alone.kernel == rows[3].kernel


def test_two_objects_of_one_class_are_two_kernels() -> None:
    first, second = Net(), Net()
    rows = attnprof.estimate(kernel=[first, second, first], len=16, **SMALL).rows
    assert len({row.kernel for row in rows}) == len(rows) == 2


def test_inputs_of_an_object_are_described() -> None:
    (row,) = attnprof.estimate(kernel=torch.bmm, input="mat2=batch,hidden,8", len=16, **SMALL).rows
    assert row.integer("executed_macs") == 16 * HIDDEN * 8


def test_an_object_is_measured_together_with_built_in_kernels() -> None:
    custom, built_in = attnprof.compare(
        kernel=[Net(), "bert-sdpa"], len=16, max_seconds=0.05, device="cpu", **SMALL
    ).rows
    for row in (custom, built_in):
        assert row.status == "ok"
        assert row.integer("operator_macs") == row.integer("executed_macs")
        assert row.integer("time_ns")
    assert HERE in custom.detail


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("kernel", 3),
        ("kernel", [None]),
        ("len", 3.5),
        ("len", np.float64(512)),
        ("window", object()),
        ("dilation", {}),
        ("global_tokens", b"x"),
        ("model", 3),
        ("dtype", torch.float32),
        ("scope", [[1]]),
        ("mode", True),
        ("csv", 3),
        ("json", []),
        ("machine", 3.5),
        ("hidden_size", np.bool_(True)),
        ("batch_size", [1]),
    ],
)
def test_wrong_types_are_refused_by_name(option: str, value: object) -> None:
    options: Any = {"len": 16, "window": 8, "kernel": "longformer-banded", **SMALL, option: value}
    with pytest.raises(UsageError) as raised:
        attnprof.estimate(**options)
    assert raised.value.argument == option


def test_integers_of_numpy_are_integers() -> None:
    pattern = AttentionPattern.sliding(
        np.int64(8), np.array([1, 1, 2, 5]), np.array([3, 0]), num_heads=np.int32(HEADS)
    )
    assert pattern == sliding(8, (1, 1, 2, 5), (0, 3))
    assert all(type(number) is int for number in (pattern.window, *pattern.dilation))
    workload = Workload(pattern, np.int64(40), np.int64(HIDDEN), batch_size=np.int16(2))
    assert type(workload.seq_len) is type(workload.hidden_size) is type(workload.batch_size) is int
    # At 10^7 tokens costs exceed 32 bits, in which numpy would overflow.
    far = workload.at(np.int32(10_000_000))
    assert formulas.useful_macs(far) == formulas.useful_macs(workload.at(10_000_000))
    assert pattern.pairs(np.int8(40)) == int(pattern.mask(40).sum())
    rows = attnprof.estimate(
        len=np.arange(16, 49, 16), window=np.int64(8), kernel="longformer-banded", **SMALL
    ).rows
    assert [row.workload.seq_len for row in rows] == [16, 32, 48]


@pytest.mark.parametrize("value", [True, np.bool_(True), 2.0, np.float64(2), "2", None])
def test_values_that_are_not_integers_are_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="dilation"):
        AttentionPattern.sliding(8, [value] * HEADS, num_heads=HEADS)
    with pytest.raises(UsageError, match="batch_size"):
        Workload(sliding(8), 40, HIDDEN, batch_size=value)


def test_layers_of_a_stack_may_be_a_list() -> None:
    stack = AttentionStack(layers=[sliding(8), sliding(16)])  # type: ignore[arg-type]
    assert hash(Workload(stack, 40, HIDDEN))


def _dilations(value: Any) -> list[tuple[int, ...]]:
    rows = attnprof.estimate(
        dilation=value, len=40, window=8, kernel="longformer-banded", **SMALL
    ).rows
    return [row.workload.layers[0].dilation for row in rows]


def test_a_tuple_of_strides_is_one_per_head_as_in_a_pattern() -> None:
    per_head = (1, 1, 2, 5)
    assert _dilations(per_head) == [AttentionPattern.sliding(8, per_head, (), HEADS).dilation]
    assert _dilations([1, 2]) == [(1,) * HEADS, (2,) * HEADS]
    assert _dilations([3, per_head, "1x2:4x2"]) == [(3,) * HEADS, per_head, (1, 1, 4, 4)]
    assert _dilations(["1", "2", "3", "4"]) == [(n,) * HEADS for n in (1, 2, 3, 4)]
    with pytest.raises(UsageError, match="use a tuple for a stride for each head"):
        _dilations([1, 2, 3, 4])
    with pytest.raises(UsageError, match="has strides for 2 heads"):
        _dilations((1, 2))


def test_a_table_prints_its_answer_in_80_columns() -> None:
    table = run({"len": [512, 4096]}, endings=ENDINGS)
    lines = str(table).splitlines()
    assert lines[0].startswith("BERT-base self-attention")
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in str(table)
    assert repr(table) == (
        "<attnprof.ResultTable: 8 rows of bert-eager, bert-sdpa, longformer-hf, longformer-banded>"
    )
    assert str(attnprof.ResultTable()) == "no case was finished"
    assert attnprof.ResultTable()._repr_html_() is None


def test_a_notebook_shows_the_answer_with_charts_and_nothing_is_markup_by_accident() -> None:
    table = run({"kernel": "bert-sdpa", "len": [64, 128]})
    table.environment = {"processor": "<script>alert('&')</script>", "packages": {}}
    fragment = table._repr_html_()
    assert fragment is not None
    assert "&lt;script&gt;alert(" in fragment
    assert "<script" not in fragment
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]+"', "", fragment)
    root = ElementTree.fromstring(fragment.replace("<br>", "<br/>"))
    svgs = [element for element in root.iter() if element.tag.endswith("svg")]
    assert len(svgs) == len(root.findall(".//figure")) > 1
    cells = [cell.text for cell in root.iter("td")]
    assert "bert-sdpa" in cells


def test_a_chart_is_a_figure() -> None:
    table = run({"kernel": "bert-sdpa", "len": [64, 128]})
    titles = [axes.get_title(loc="left") for axes in table.plot().axes]
    assert "Executed MACs" in titles
    with pytest.raises(UsageError, match="chart pie: unknown"):
        table.plot("pie")


@pytest.mark.parametrize(
    ("suffix", "begin"),
    [
        (".csv", b"kernel,seq_len,"),
        (".json", b'{\n "schema": 1'),
        (".md", b"**BERT-base"),
        (".png", b"\x89PNG"),
        (".svg", b"<?xml"),
        (".pdf", b"%PDF"),
        (".PDF", b"%PDF"),
        (".html", b"<!doctype html>"),
    ],
)
def test_a_table_is_saved_by_suffix(suffix: str, begin: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"costs{suffix}"
    run({"kernel": "bert-sdpa", "len": [64, 128]}).save(path)
    assert path.read_bytes().startswith(begin)
    assert list(tmp_path.iterdir()) == [path]


def test_a_suffix_that_is_unknown_is_refused_and_a_folder_that_is_missing(tmp_path: Path) -> None:
    table = run({"kernel": "bert-sdpa", "len": 64})
    with pytest.raises(UsageError, match=r"must end in \.html, \.csv") as raised:
        table.save(tmp_path / "costs.gif")
    assert raised.value.argument == "path"
    with pytest.raises(MeasurementError, match="could not be written"):
        table.save(tmp_path / "missing" / "costs.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_saved_table_is_loaded_as_one(tmp_path: Path) -> None:
    table = run(endings=ENDINGS)
    table.save(tmp_path / "costs.json")
    loaded = attnprof.ResultTable.load(tmp_path / "costs.json")
    assert type(loaded) is attnprof.ResultTable
    assert (str(loaded), loaded._repr_html_()) == (str(table), table._repr_html_())
    assert loaded.to_pandas().equals(table.to_pandas())
    with pytest.raises(UsageError, match=r"missing\.json"):
        attnprof.ResultTable.load("missing.json")


def test_a_table_knows_the_call_that_made_it_and_when() -> None:
    table = attnprof.estimate(len=[16, "32"], kernel=[Net, "bert-sdpa"], window=8, **SMALL)
    assert table.command == (
        "attnprof.estimate(len=[16, '32'], kernel=[Net, 'bert-sdpa'], window=8, "
        f"hidden_size={HIDDEN}, num_heads={HEADS})"
    )
    assert datetime.fromisoformat(table.finished_at).tzinfo is not None


def test_custom_kernels_are_not_run_again_when_a_table_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = attnprof.estimate(kernel=[Net(), "bert-sdpa"], len=[16, 32], **SMALL)
    first = str(table)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} was looked up")

    monkeypatch.setattr(attnprof.kernels.custom, "find", refuse)
    assert "pays off" in first
    assert str(table) == first
    assert table._repr_html_()
