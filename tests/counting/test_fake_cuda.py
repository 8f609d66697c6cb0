"""Fake CUDA tensors, on machines with and without CUDA: kernels, moves, backward, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from attnprof.core.errors import MeasurementError
from attnprof.counting.allocations import peak_bytes
from attnprof.counting.call import Call
from attnprof.counting.fake_cuda import CudaFunctions
from attnprof.counting.fake_tensors import fake_mode, on_fake_tensors
from attnprof.counting.operator_counts import count_operators

attention: Any = scaled_dot_product_attention
FLASH = "_scaled_dot_product_flash_attention"
EFFICIENT = "_scaled_dot_product_efficient_attention"


class Operators(TorchDispatchMode):
    """Notes the names of operators and the shapes of their first tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, tuple[int, ...]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if args and isinstance(args[0], Tensor):
            self.calls[str(func).removeprefix("aten.").partition(".")[0]] = tuple(args[0].shape)
        return func(*args, **(kwargs or {}))


def heads(
    width: int = 16,
    dtype: torch.dtype = torch.bfloat16,
    device: str = "cuda",
    number: int = 4,
    tokens: int = 20,
) -> Tensor:
    return torch.randn(2, number, tokens, width, dtype=dtype, device=device)


@pytest.mark.parametrize(
    ("attend", "operator"),
    [
        (lambda: attention(*[heads()] * 3), FLASH),
        (lambda: attention(*[heads(12)] * 3, is_causal=True), FLASH),
        (lambda: attention(*[heads(dtype=torch.float32)] * 3), EFFICIENT),
        (lambda: attention(*[heads()] * 3, torch.ones(20, 20) > 0), EFFICIENT),
        (lambda: attention(*[heads(dtype=torch.float64)] * 3), "bmm"),
        (
            lambda: attention(heads(), heads(number=2), heads(number=2), enable_gqa=True),
            FLASH,
        ),
        (
            lambda: attention(
                *(heads(dtype=torch.float32, number=n) for n in (4, 2, 2)), enable_gqa=True
            ),
            "bmm",
        ),
        (lambda: attention(*[heads()[0]] * 3), "bmm"),
        (lambda: attention(*[heads().mT.contiguous().mT] * 3), "bmm"),
    ],
)
def test_attention_runs_the_operator_that_a_gpu_would_run(
    attend: Callable[[], Tensor], operator: str
) -> None:
    with fake_mode(), CudaFunctions(), torch.device("cuda"), Operators() as operators:
        output = attend()
    assert operator in operators.calls
    assert len({FLASH, EFFICIENT, "bmm"} & operators.calls.keys()) == 1
    assert output.device.type == "cuda"
    assert output.shape[-2] == 20


def test_disabled_kernels_are_not_chosen() -> None:
    seen = []
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH):
        with fake_mode(), CudaFunctions(), sdpa_kernel(backend), Operators() as operators:
            attention(*[heads()] * 3)
        seen.append({FLASH, EFFICIENT, "bmm"} & operators.calls.keys())
    assert seen == [{FLASH}, {EFFICIENT}, {"bmm"}]


def test_heads_and_masks_are_padded_as_on_a_gpu() -> None:
    with fake_mode(), CudaFunctions(), Operators() as operators:
        output = attention(*[heads(12)] * 3)
    assert operators.calls[FLASH] == (2, 4, 20, 16)
    assert output.shape == (2, 4, 20, 12)
    with fake_mode(), CudaFunctions(), Operators() as operators:
        attention(*[heads()] * 3, torch.ones(20, 20, device="cuda") > 0)
    assert operators.calls["constant_pad_nd"] == (20, 20)


def test_attention_on_the_cpu_is_what_it_was() -> None:
    with fake_mode(), CudaFunctions(), Operators() as operators:
        attention(*[heads(device="cpu")] * 3)
    assert f"{FLASH}_for_cpu" in operators.calls


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("is_causal", [False, True])
def test_macs_of_both_passes_are_those_of_the_pairs(dtype: torch.dtype, is_causal: bool) -> None:
    def run() -> None:
        query = heads(dtype=dtype).requires_grad_()
        attention(query, query, query, is_causal=is_causal).sum().backward()
        assert query.grad is not None
        assert query.grad.device.type == "cuda"

    pairs = 20 * 21 // 2 if is_causal else 20 * 20
    with fake_mode(), CudaFunctions():
        assert count_operators(run).macs == 7 * 2 * 4 * pairs * 16


def test_tensors_know_that_they_are_on_cuda_and_are_not_copied_to_it_again() -> None:
    with fake_mode(), CudaFunctions():
        tensor = torch.randn(4, 4, device="cuda")
        assert (tensor.is_cuda, tensor.device.type) == (True, "cuda")
        other = torch.randn(4)
        assert other.to(tensor).device == other.cuda().device == other.to("cuda").device
        assert tensor.cpu().device.type == "cpu"
        assert tensor.to("cuda", torch.float16).dtype is torch.float16
        layer = nn.Linear(4, 4).to("cuda")
        assert layer(tensor).device.type == "cuda"
        for move in (lambda: tensor.to("cuda"), lambda: tensor.cuda(), lambda: tensor.to(tensor)):
            assert peak_bytes(move) == 0
        assert peak_bytes(lambda: tensor.to("cuda", copy=True)) == 64
        with pytest.raises(RuntimeError, match="device"):
            _ = tensor + torch.randn(4, 4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_autocast_is_refused_where_it_could_not_take_effect() -> None:
    with fake_mode():
        with torch.autocast("cuda", enabled=False):
            pass
        with pytest.raises(MeasurementError, match="autocast on cuda cannot be counted"):
            torch.autocast("cuda", dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16


class Routed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[: int(x.sum())]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Routed, "its shapes depend on data, so counting needs a real run, which needs a CUDA"),
        (lambda: nn.Linear(7, 7), "must have same reduction dim"),
    ],
)
def test_what_fails_on_fake_cuda_tensors_is_reported_as_it_failed(
    make: Callable[[], nn.Module], message: str
) -> None:
    def build() -> Call:
        with CudaFunctions():
            on_cuda = make().to("cuda")
        return Call(on_cuda, {_argument(on_cuda): torch.rand(4, device="cuda")}, "inference")

    with pytest.raises(Exception, match=message):
        on_fake_tensors(build, lambda call: call.run())


def _argument(module: nn.Module) -> str:
    return "input" if isinstance(module, nn.Linear) else "x"
