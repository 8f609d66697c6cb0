"""Mask functions of users: evaluated as FlexAttention does, run by kernels, refused in one line."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from builtin_kernels import correct_everywhere
from torch.nn.attention.flex_attention import create_mask

import attnprof
from attnprof import Workload, kernels
from attnprof.core.built_in_mask import BuiltInMask
from attnprof.core.errors import UsageError
from attnprof.core.mask_pattern import MaskPattern
from attnprof.counting.counters import operator
from attnprof.counting.fake_tensors import fake_mode
from attnprof.kernels.custom.mask_function import UserMask, mask_pattern, parse_mask_function
from attnprof.measure.output_checks import describe_wrong_output
from attnprof.measure.peak_memory import measure_peak_bytes

MODULE = """
import torch

def causal(b, h, q, k):
    return q >= k

def slopes(b, h, q, k):
    return (q >= k) & (q - k < (h + 1) * 8)

def make_chunks(chunk=64, sinks=0):
    print("printed by user code")
    def mask(b, h, q, k):
        return (q >= k) & ((q // chunk == k // chunk) | (k < sinks))
    return mask

def documents(seq_len, *, size=50):
    document = torch.arange(seq_len) // size
    return lambda b, h, q, k: document[q] == document[k]

def table(seq_len, num_heads):
    draw = torch.Generator(device="cpu").manual_seed(0)
    shape = (num_heads, seq_len, seq_len)
    pairs = torch.rand(shape, generator=draw, dtype=torch.float32, device="cpu") > 0.9
    pairs |= torch.eye(seq_len, dtype=torch.bool)
    return lambda b, h, q, k: pairs[h, q, k]

def window(b, h, q, k, size=5):
    return (q - k).abs() < size

def of_batch(b, h, q, k):
    return q - k <= 8 * b

def numbers(b, h, q, k):
    return (q - k) * 1.0

def fails(b, h, q, k):
    raise ValueError("bad\\nmask")

def leaves(b, h, q, k):
    raise SystemExit(3)

def branches(b, h, q, k):
    return q if q > k else k

def three(b, h, q):
    return q >= h

def makes_number():
    return 3

def padded(b, h, q, k):
    return (q >= k) & (q > 3)

not_a_function = 3
"""

HEADS = 3


@pytest.fixture(autouse=True)
def masks_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_masks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_masks", None)
    yield "own_masks"
    sys.modules.pop("own_masks", None)


def pattern_of(text: str, seq_len: int = 200, heads: int = HEADS) -> MaskPattern:
    return mask_pattern(parse_mask_function(text), heads, seq_len)


GOOD = (
    "own_masks:causal",
    "own_masks:slopes",
    "own_masks:make_chunks",
    "own_masks:make_chunks:chunk=32:sinks=4",
    "own_masks:documents:size=20",
    "own_masks:table",
    "own_masks:window:size=7",
    "own_masks:padded",
)


@pytest.mark.parametrize("text", GOOD)
def test_mask_is_what_flex_attention_makes_of_the_function(text: str) -> None:
    pattern = pattern_of(text)
    function = pattern.function.mask_mod(200, HEADS, torch.tensor)
    theirs = create_mask(function, 1, HEADS, 200, 200, device="cpu")[0]
    assert torch.equal(torch.tensor(pattern.mask(200)), theirs)
    assert pattern.pairs(200) == int(theirs.sum())
    assert pattern.causal == (not bool(theirs.triu(1).any()))
    assert pattern.depends_on_head == bool((theirs != theirs[0]).any())
    assert pattern.function.text == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("numbers", "returns float32; must return bool"),
        ("fails", "fails: ValueError: bad mask"),
        ("leaves", "fails: SystemExit: 3"),
        ("branches", "data-dependent control flow"),
        ("three", "needs b, h, q; must be mask(batch, head, query, key), or a function"),
        ("makes_number", "makes int; must be mask(batch, head, query, key)"),
        ("not_a_function", "is int; must be mask(batch, head, query, key)"),
        ("make_chunks:chnk=3", "takes no chnk=3; did you mean chunk?"),
        ("make_chunks:chunk=x", "must be NAME or NAME:KEY=N:KEY=N"),
        ("absent", "own_masks has no absent; choose from"),
    ],
)
def test_a_function_that_is_no_mask_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as raised:
        attnprof.estimate(pattern=f"own_masks:{text}", len=64)
    assert str(raised.value).startswith(f"pattern own_masks:{text}: ")
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bigbrd", "unknown; did you mean bigbird?"),
        ("unlike any", "or a function as pkg.mod:mask"),
        ("no_module_here:mask", "cannot be imported: ModuleNotFoundError"),
        (lambda b, h, q, k: q >= k, "other processes can import"),
    ],
)
def test_a_value_that_names_no_mask_is_refused(text: Any, reason: str) -> None:
    with pytest.raises(UsageError, match="^pattern") as raised:  # noqa: RUF043
        attnprof.estimate(pattern=text, len=64)
    assert reason in str(raised.value)


def test_a_mask_that_differs_in_a_batch_needs_a_batch_of_one() -> None:
    assert pattern_of("own_masks:of_batch").causal is False
    with pytest.raises(UsageError, match="needs --batch-size 1"):
        attnprof.estimate(pattern="own_masks:of_batch", len=64, batch_size=2)
    attnprof.estimate(pattern="own_masks:causal", len=64, batch_size=2)


def test_what_user_code_prints_does_not_reach_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    attnprof.estimate(pattern="own_masks:make_chunks", len=64)
    captured = capsys.readouterr()
    assert "printed" not in captured.out
    assert "printed" in captured.err


def test_a_function_in_a_module_may_be_passed_from_python() -> None:
    import own_masks  # pyright: ignore[reportMissingImports]

    (row,) = attnprof.estimate(pattern=own_masks.causal, len=64, kernel="longformer-masked").rows
    assert row.cells()["pattern"] == "own_masks:causal"


def test_a_pattern_survives_pickling_as_its_name() -> None:
    for text in ("own_masks:make_chunks:chunk=32", "bigbird:block=8"):
        pattern = pattern_of(text)
        assert pickle.loads(pickle.dumps(pattern)) == pattern
    assert UserMask("own_masks:causal") != BuiltInMask("chunked")


RUN: list[tuple[str, int, dict[str, Any]]] = [
    ("own_masks:table", 40, {"mode": "training"}),
    ("own_masks:table", 130, {"kv_heads": 2}),
    ("bigbird:block=8", 300, {"mode": "training"}),
    ("documents:mean=30", 300, {"kv_heads": 1, "scope": "layer"}),
    ("longnet:segments=16+64:dilations=1+2", 200, {}),
]


def workload_of(text: str, seq_len: int, options: dict[str, Any]) -> Workload:
    return Workload(pattern_of(text, seq_len, 4), seq_len, 80, batch_size=2, **options)


@pytest.mark.parametrize(("text", "seq_len", "options"), RUN)
def test_the_masked_kernel_computes_it_with_the_predicted_macs_and_memory(
    text: str, seq_len: int, options: dict[str, Any]
) -> None:
    kernel = kernels.find("longformer-masked")
    workload = workload_of(text, seq_len, options)
    assert describe_wrong_output(kernel.build(workload), workload) == ""
    assert operator.count(lambda: kernel.build(workload)) == kernel.executed_macs(workload)
    measured = measure_peak_bytes(kernel.build(workload).run, "cpu")
    assert kernel.peak_bytes(workload) == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize(("text", "seq_len", "options"), RUN[1:2])
def test_flex_attention_computes_it(text: str, seq_len: int, options: dict[str, Any]) -> None:
    kernel = kernels.find_built_in("longformer-flex")
    workload = correct_everywhere(kernel, workload_of(text, seq_len, options))
    assert kernel.unsupported_reason(workload) is None
    assert describe_wrong_output(kernel.build(workload), workload) == ""


@pytest.mark.parametrize(("text", "seq_len", "options"), RUN[1:2] + RUN[3:])
def test_flex_attention_executes_the_blocks_that_torch_finds(
    text: str, seq_len: int, options: dict[str, Any]
) -> None:
    kernel = kernels.find_built_in("longformer-flex")
    workload = workload_of(text, seq_len, options)
    with fake_mode():
        executed = operator.count(lambda: kernel.build(workload))
    assert executed == kernel.executed_macs(workload)
    layer = workload.layers[0]
    in_blocks = sum(
        sum(block.pairs for block in kernel.blocks(workload, layer, head))
        for head in range(workload.num_heads)
    )
    products = workload.head_dim + workload.value_dim
    of_terms = sum(t.macs for t in kernel.mac_terms(workload) if t.part in ("scores", "context"))
    assert workload.batch_size * products * in_blocks == of_terms


def test_kernels_of_windows_say_why_they_cannot_compute_a_mask() -> None:
    workload = workload_of("bigbird:block=8", 200, {})
    for name in ("longformer-hf", "longformer-banded"):
        reason = kernels.find(name).unsupported_reason(workload)
        assert reason == "computes a sliding window, not a mask function"


def test_a_query_without_keys_is_refused_since_its_softmax_is_not_defined() -> None:
    workload = workload_of("own_masks:padded", 64, {})
    for name in ("longformer-masked", "longformer-flex"):
        assert "needs a key for every query" in str(kernels.find(name).unsupported_reason(workload))
