"""Every built-in kernel against the enumerated mask and the operators of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from builtin_kernels import correct_everywhere, supported
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from workloads import HIDDEN, PATTERNS, WORKLOADS, sliding

from attnprof import AttentionPattern, AttentionStack, Workload, kernels
from attnprof.counting.counters import operator
from attnprof.measure.peak_memory import measure_peak_bytes

aten = torch.ops.aten

NOT_IN_TORCH = ("longformer-flex", "float64")
"""FlexAttention has no float64."""


class ProductCounter(TorchDispatchMode):
    """Counts MACs of matrix products as torch dispatches them; knows nothing of attnprof."""

    macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        operator = func.overloadpacket
        if operator in (aten.mm, aten.bmm):
            self.macs += out.numel() * args[0].shape[-1]
        elif operator in (aten.addmm, aten.baddbmm):
            self.macs += out.numel() * args[1].shape[-1]
        elif operator is aten._scaled_dot_product_flash_attention_for_cpu:
            scores, context = self._products(*args[:3])
            self.macs += scores + context
        elif operator is aten._scaled_dot_product_flash_attention_for_cpu_backward:
            scores, context = self._products(*args[1:4])
            self.macs += 3 * scores + 2 * context
        else:
            name = str(operator)
            assert not any(word in name for word in ("attention", "conv", "linear")), name
        return out

    @staticmethod
    def _products(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[int, int]:
        pairs = query.shape[:3].numel() * key.shape[2]
        return pairs * query.shape[3], pairs * value.shape[3]


def executed_by_operators(kernel: kernels.Kernel, workload: Workload) -> int:
    if kernel.needs_compilation:
        # torch dispatches no operators of a compiled function; tests/nn/test_flex.py compares its
        # blocks with those that torch finds among all pairs
        return operator.count(lambda: kernel.build(workload))
    with ProductCounter() as counter:
        kernel.build(workload).run()
    return counter.macs


def rotated(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embeddings: each pair of features (i, i + d / 2) turned by the angle of its position.

    `heads` are `(..., tokens, d)`; `cos` and `sin` `(..., tokens, d)` with equal halves. Source:
    RoFormer, arXiv 2104.09864, section 3.2.2, and transformers, `apply_rotary_pos_emb`.
    """
    first, second = heads.chunk(2, -1)
    cos, sin = (tensor.cpu().double().chunk(2, -1)[0] for tensor in (cos, sin))
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def reference_layer(
    state: dict[str, torch.Tensor],
    hidden: torch.Tensor,
    layer: AttentionPattern,
    workload: Workload,
    kwargs: dict[str, Any],
) -> torch.Tensor:
    """Dense attention under the enumerated mask; global rows with separate projections."""

    def project(name: str, width: int) -> torch.Tensor:
        """Heads of that width, `(batch, num_heads, tokens, width)`; keys once per query head."""
        if f"{name}.weight" not in state:
            name = f"{name[0]}_proj"
        rows = hidden @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0.0)
        heads = rows.unflatten(-1, (-1, width)).transpose(1, 2)
        return heads.repeat_interleave(layer.num_heads // heads.shape[1], dim=1)

    def attend(suffix: str = "") -> torch.Tensor:
        query, key = (project(f"{name}{suffix}", workload.head_dim) for name in ("query", "key"))
        value = project(f"value{suffix}", workload.value_dim)
        if "position_embeddings" in kwargs:
            query, key = (rotated(heads, *kwargs["position_embeddings"]) for heads in (query, key))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        mask = torch.tensor(layer.mask(hidden.shape[1]))
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        return (weights @ value).transpose(1, 2).flatten(2)

    output = attend()
    if layer.symmetric_globals:
        chosen = list(layer.symmetric_globals)
        output[:, chosen] = attend("_global")[:, chosen]
    return output


def reference_whole_layer(
    state: dict[str, torch.Tensor],
    hidden: torch.Tensor,
    layer: AttentionPattern,
    workload: Workload,
    kwargs: dict[str, Any],
) -> torch.Tensor:
    """The attention above, and the rest of a layer as in BERT's paper and code, written out."""

    def linear(name: str, rows: torch.Tensor) -> torch.Tensor:
        return rows @ state[f"{name}.dense.weight"].T + state[f"{name}.dense.bias"]

    def norm(name: str, rows: torch.Tensor) -> torch.Tensor:
        centred = rows - rows.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt()
        return scaled * state[f"{name}.LayerNorm.weight"] + state[f"{name}.LayerNorm.bias"]

    attention = {
        name.removeprefix("attention."): value
        for name, value in state.items()
        if name.startswith("attention.")
    }
    attended = reference_layer(attention, hidden, layer, workload, kwargs)
    attended = linear("attention_output", attended)
    attended = norm("attention_output", attended + hidden)
    inner = linear("intermediate", attended)
    inner = inner * (1 + torch.erf(inner / 2**0.5)) / 2
    return norm("output", linear("output", inner) + attended)


def reference(
    module: torch.nn.Module,
    hidden: torch.Tensor,
    workload: Workload,
    kwargs: dict[str, Any],
) -> torch.Tensor:
    state = {name: value.detach().double() for name, value in module.state_dict().items()}
    hidden = hidden.detach().double()
    for index, layer in enumerate(workload.layers):
        prefix = f"layers.{index}." if len(workload.layers) > 1 else ""
        layer_state = {name.removeprefix(prefix): value for name, value in state.items()}
        of_scope = reference_whole_layer if workload.scope == "layer" else reference_layer
        hidden = of_scope(layer_state, hidden, layer, workload, kwargs)
    return hidden


def first_supported(kernel: kernels.Kernel, **changes: Any) -> Workload | None:
    """The first workload that a kernel supports after some changes; None if there is none."""
    changed = [replace(workload, **changes) for workload in WORKLOADS]
    supported = [w for w in changed if kernel.unsupported_reason(w) is None]
    return correct_everywhere(kernel, supported[0]) if supported else None


on_all_workloads = pytest.mark.parametrize(("kernel", "workload"), supported(WORKLOADS))


def test_kernel_is_named_as_its_file_and_supports_some_pattern(kernel: kernels.Kernel) -> None:
    assert kernel.name in kernels.names()
    assert first_supported(kernel) or first_supported(kernel, device="cuda")


@on_all_workloads
def test_output_is_dense_attention_under_the_mask_and_parameters_in_use_have_gradients(
    kernel: kernels.Kernel, workload: Workload
) -> None:
    call = kernel.build(workload)
    output = call.run()[:, : workload.seq_len]
    hidden = call.kwargs["hidden_states"][:, : workload.seq_len]
    expected = reference(call.module, hidden, workload, call.kwargs)
    assert float((output.double() - expected).abs().max()) < 1e-5
    is_training = workload.mode == "training"
    assert (call.kwargs["hidden_states"].grad is not None) == is_training
    has_globals = bool(workload.layers[0].symmetric_globals)
    for name, parameter in call.module.named_parameters():
        needs_gradient = is_training and (has_globals or "_global" not in name)
        assert (parameter.grad is not None) == needs_gradient, name


@on_all_workloads
def test_executed_macs_equal_the_operators_of_a_real_run(
    kernel: kernels.Kernel, workload: Workload
) -> None:
    assert kernel.executed_macs(workload) == executed_by_operators(kernel, workload)


@on_all_workloads
def test_parameters_and_static_bytes_are_those_of_the_module(
    kernel: kernels.Kernel, workload: Workload
) -> None:
    call = kernel.build(workload)
    assert kernel.parameters(workload) == sum(p.numel() for p in call.module.parameters())
    tensors = [
        *call.module.parameters(),
        *call.module.buffers(),
        *(leaf for leaf in tree_leaves(call.kwargs) if isinstance(leaf, torch.Tensor)),
    ]
    # Masks may be expanded to all sequences of a batch, and shared by layers.
    storages = {tensor.untyped_storage().data_ptr(): tensor for tensor in tensors}
    static_bytes = sum(tensor.untyped_storage().nbytes() for tensor in storages.values())
    assert kernel.static_bytes(workload) == pytest.approx(static_bytes, rel=0.02)


def test_same_workload_gives_same_output(kernel: kernels.Kernel) -> None:
    workload = first_supported(kernel)
    if workload is None:
        pytest.skip(f"{kernel.name} does not run on a CPU")
    state = torch.random.get_rng_state()
    outputs = [kernel.build(workload).run() for _ in range(2)]
    assert torch.equal(*outputs)
    assert torch.equal(state, torch.random.get_rng_state()), "the caller's random state changed"


TYPED = [
    (kernel, dtype)
    for kernel in map(kernels.find_built_in, kernels.names())
    for dtype in ("float64", "bfloat16", "float16")
    if first_supported(kernel)  # others need CUDA
    if not (kernel.needs_compilation and dtype == "float16")  # bfloat16 takes the same path
]


@pytest.mark.parametrize(("kernel", "dtype"), TYPED)
def test_output_has_the_requested_type_and_is_finite(kernel: kernels.Kernel, dtype: Any) -> None:
    workload = first_supported(kernel, dtype=dtype)
    if (kernel.name, dtype) == NOT_IN_TORCH:
        assert workload is None
        return
    assert workload is not None
    output = kernel.build(workload).run()
    assert output.dtype == getattr(torch, dtype)
    assert bool(torch.isfinite(output).all())


@pytest.mark.parametrize(
    ("name", "pattern", "reason"),
    [
        ("bert-eager", sliding(8), "not a sliding window"),
        ("bert-sdpa", sliding(8), "not a sliding window"),
        ("longformer-hf", PATTERNS[0], "not dense"),
        ("longformer-hf", sliding(8, dilation=2), "no dilation"),
        ("longformer-hf", sliding(2), "window of 2"),
        (
            "longformer-hf",
            AttentionStack(layers=(sliding(48), sliding(64))),
            "not a multiple of window 48",
        ),
        ("longformer-masked", PATTERNS[0], "not dense"),
        ("longformer-banded", PATTERNS[0], "not dense"),
        ("longformer-flex", PATTERNS[0], "not dense"),
        ("longformer-triton", PATTERNS[0], "not dense"),
        ("longformer-triton", sliding(8), "run on CUDA"),
    ],
)
def test_unsupported_reason_says_why(
    name: str, pattern: AttentionPattern | AttentionStack, reason: str
) -> None:
    message = kernels.find(name).unsupported_reason(Workload(pattern, 96, HIDDEN))
    assert message is not None
    assert reason in message


def test_transformers_still_fails_with_a_window_of_two() -> None:
    """The reason above holds: fails once transformers has fixed it."""
    kernel = kernels.find("longformer-hf")
    with pytest.raises(RuntimeError):
        kernel.build(Workload(sliding(2), 96, HIDDEN)).run()


@pytest.mark.parametrize(("seq_len", "padded"), [(1, 16), (16, 16), (17, 32), (96, 96)])
def test_hugging_face_pads_to_the_window(seq_len: int, padded: int) -> None:
    kernel = kernels.find("longformer-hf")
    workload = Workload(sliding(16), seq_len, HIDDEN)
    assert kernels.padded_seq_len(kernel, workload) == padded
    assert kernel.build(workload).kwargs["hidden_states"].shape[1] == padded


@pytest.mark.parametrize(
    ("positions", "macs"), [((), 12_683_575_296), ((0,), 17_528_586_240)], ids=["none", "one"]
)
def test_hugging_face_macs_of_two_known_cases(positions: tuple[int, ...], macs: int) -> None:
    workload = Workload(AttentionPattern.sliding(512, 1, positions), 4096)
    assert kernels.find("longformer-hf").executed_macs(workload) == macs


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_kernel_runs_on_cuda(kernel: kernels.Kernel) -> None:
    workload = first_supported(kernel, device="cuda", seq_len=96)
    assert workload is not None
    call = kernel.build(workload)
    output = call.run()[:, :96].cpu()
    module, hidden = call.module.cpu(), call.kwargs["hidden_states"][:, :96].cpu()
    expected = reference(module, hidden, workload, call.kwargs)
    assert float((output.double() - expected).abs().max()) < 1e-4
    assert measure_peak_bytes(kernel.build(workload).run, "cuda") > 0
