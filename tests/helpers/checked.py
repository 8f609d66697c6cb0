"""Custom kernels and references for them: some agree, some do not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

number = 3


def dense(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1) @ value


def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return scaled_dot_product_attention(query, key, value)


def unscaled(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.transpose(-1, -2)).softmax(-1) @ value


def unwritten(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    output = torch.empty_like(query)
    output[:, :-1] = dense(query, key, value)[:, :-1]
    return output


def cut(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return dense(query, key, value)[:, :-1]


def of_other_names(q: Tensor, k: Tensor) -> Tensor:
    return q + k


def broken(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    raise RuntimeError("it broke")


class Net(nn.Module):
    """Two projections around a product with itself."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden_size, hidden_size)
        self.outer = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x).square())


class SlowNet(Net):
    """The same with other operations, and weights created in another order."""

    def __init__(self, hidden_size: int) -> None:
        nn.Module.__init__(self)
        self.outer = nn.Linear(hidden_size, hidden_size)
        self.inner = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        inner = x @ self.inner.weight.T + self.inner.bias
        return (inner * inner) @ self.outer.weight.T + self.outer.bias


class OtherNet(nn.Module):
    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.only = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.only(x)


def by_its_weights(module: Net, x: Tensor) -> Tensor:
    return SlowNet.forward(module, x)  # type: ignore[arg-type]


def by_half_its_weights(module: Net, x: Tensor) -> Tensor:
    return module.outer(module.inner(x))


def make_slow(hidden_size: int) -> SlowNet:
    return SlowNet(hidden_size)
