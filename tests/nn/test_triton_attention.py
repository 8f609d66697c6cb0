"""The Triton kernels against dense attention under the enumerated mask, in Triton's interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sliding_window_cases import LONG, Case, error, gradients, normal

from attnprof import sliding_window_attention

REPOSITORY = Path(__file__).parent.parent.parent
HELPERS = REPOSITORY / "tests" / "helpers"

pytest.importorskip("triton")


def interpreted(*parts: str) -> dict[str, list[float]]:
    """What the script found, by case, in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(HELPERS / "interpreted_triton.py"), *parts],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: found for name, *found in lines}


def test_outputs_and_all_gradients_are_those_of_dense_attention_under_the_mask() -> None:
    found = interpreted("random")
    assert len(found) == 12
    for name, errors in found.items():
        assert max(errors) < 3e-6, name


LIMITS = {"torch.float16": 0.004, "torch.bfloat16": 0.03, "torch.compile": 3e-6}


def test_half_precisions_torch_compile_executed_macs_and_the_built_in_kernel() -> None:
    found = interpreted("half", "compiled", "macs", "kernel")
    assert len(found) == 2 + 1 + 2 + 4
    for name, values in found.items():
        if name.startswith("torch."):
            assert max(values) < LIMITS[name.partition(":")[0]], name
        elif name.startswith("peak"):
            assert values[0] == pytest.approx(values[1], rel=0.02), name
        else:
            assert values[0] == values[1], name


def test_the_kernels_compile_for_a_gpu_with_tensor_cores() -> None:
    script = REPOSITORY / "examples" / "benchmarks" / "compile_triton.py"
    done = subprocess.run(
        [sys.executable, str(script), "--head-dim", "16", "--dilation", "8"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kernels = [line.split() for line in done.stdout.splitlines()[2:]]
    names = ["forward", "query_gradient", "key_gradient", "global_gradient"]
    assert [name for name, *_ in kernels] == names
    for _, _, shared_bytes, _, spilled_bytes, products in kernels:
        assert int(shared_bytes.replace(",", "")) < 99 * 1024, done.stdout
        assert int(spilled_bytes) < 128, done.stdout
        assert products == "wgmma", done.stdout


HEADS = torch.zeros(1, 2, 8, 16)


@pytest.mark.parametrize(
    ("tensor", "options", "expected"),
    [
        (HEADS, {"implementation": "tritn"}, "implementation tritn: unknown; did you mean"),
        (HEADS, {}, "query on cpu: must be on a CUDA device with implementation 'triton'"),
        (HEADS.double(), {}, "query float64: must be float32, bfloat16 or float16"),
        (HEADS, {"dropout_p": 0.1}, "dropout_p 0.1: must be 0 with implementation 'triton'"),
        (torch.zeros(1, 2, 8, 129), {}, "query 129: must have heads of at most 128"),
        (torch.zeros(1, 2, 8, 257).half(), {}, "query 257: must have heads of at most 256"),
    ],
)
def test_what_the_kernels_do_not_compute_is_an_error(
    tensor: torch.Tensor, options: dict[str, object], expected: str
) -> None:
    arguments: dict[str, object] = {"window": 4, "implementation": "triton", **options}
    with pytest.raises(ValueError, match=r"with implementation|unknown") as raised:
        sliding_window_attention(tensor, tensor, tensor, **arguments)  # pyright: ignore
    assert expected in str(raised.value)


def test_without_triton_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"not installed: pip install 'attnprof\[triton\]'"):
        sliding_window_attention(HEADS, HEADS, HEADS, window=4, implementation="triton")


def test_tensors_without_data_give_shapes() -> None:
    query, key = (torch.empty(2, heads, 100, 16, device="meta") for heads in (4, 2))
    query.requires_grad_()
    output = sliding_window_attention(
        *(query, key, key[..., :8]), window=9, causal=True, enable_gqa=True, implementation="triton"
    )
    assert output.shape == (2, 4, 100, 8)
    assert torch.autograd.grad(output.sum(), [query])[0].shape == query.shape


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "case",
    [case for case in LONG if case.shape[3] <= 128],
    ids=lambda case: f"n{case.shape[2]}_w{case.window}",
)
@pytest.mark.parametrize(
    ("dtype", "limit"),
    [(torch.float32, 3e-5), (torch.bfloat16, 0.03), (torch.float16, 0.004)],
    ids=str,
)
def test_on_cuda_it_is_dense_attention_under_the_mask(
    case: Case, dtype: torch.dtype, limit: float
) -> None:
    tensors = case.tensors(dtype)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    on_gpu = [tensor.detach().cuda().requires_grad_() for tensor in tensors]
    padded = None if case.padded is None else case.padded.cuda()
    output = case.attend(on_gpu, key_padding_mask=padded, implementation="triton")
    expected = case.expected(exact)
    assert error(output.cpu(), expected) < limit
    grad_output = normal(*output.shape, seed=99).to(dtype)
    ours = torch.autograd.grad(output, on_gpu[:3], grad_output.cuda())
    for gradient, reference in zip(ours, gradients(expected, exact[:3]), strict=True):
        assert reference is not None
        assert error(gradient.cpu(), reference) < limit * max(1.0, float(reference.abs().max()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_it_compiles_without_graph_breaks_and_gives_the_same_in_every_run() -> None:
    case = Case((2, 4, 700, 64), 128, (1, 1, 3, 3), ((0, 9), (5,)), None, False, True)
    tensors = [t.detach().cuda().requires_grad_() for t in case.tensors(torch.bfloat16)]
    compiled = torch.compile(
        lambda *t: case.attend(t, implementation="triton"), backend="aot_eager", fullgraph=True
    )
    results: list[list[torch.Tensor | None]] = []
    for attend in (lambda *t: case.attend(t, implementation="triton"), compiled, compiled):
        output = attend(*tensors)
        grad_output = torch.ones_like(output)
        results.append([output, *torch.autograd.grad(output, tensors, grad_output)])
    for others in results[1:]:
        for first, other in zip(results[0], others, strict=True):
            assert first is not None
            assert other is not None
            assert torch.equal(first, other)
