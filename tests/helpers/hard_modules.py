"""Modules that are hard to count: unusual tensors, or operations that fake tensors reject."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right, causal_upper_left
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

WIDTH = 64


class Latents(nn.Module):
    """A view of a parameter is passed to a submodule."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, 8, WIDTH))
        self.proj = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.latents.expand(x.shape[0], -1, -1)) @ x.mT


class Padded(nn.Module):
    """Torch's fast path drops padding: its tensors are nested."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x: Tensor) -> Tensor:
        padding = torch.zeros(x.shape[:2], dtype=torch.bool)
        padding[0, x.shape[1] // 2 :] = True
        return self.encoder(x, src_key_padding_mask=padding)


class LowerRight(nn.Module):
    """A tensor subclass that is created by its constructor."""

    def forward(self, x: Tensor) -> Tensor:
        query, key = x[:, None, x.shape[1] // 2 :], x[:, None]
        bias = causal_lower_right(query.shape[2], key.shape[2])
        return nn.functional.scaled_dot_product_attention(query, key, key, attn_mask=bias)


class UpperLeft(nn.Module):
    """This bias is equivalent to `is_causal`."""

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]
        bias = causal_upper_left(x.shape[2], x.shape[2])
        return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=bias)


class Jagged(nn.Module):
    """Two sequences, one of half the length."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        rows = [x[0], x[1, : x.shape[1] // 2]]
        return self.project(torch.nested.nested_tensor(rows, layout=torch.jagged)).values()


@torch.library.custom_op("hard_modules::scores", mutates_args=())
def scores(q: Tensor, k: Tensor) -> Tensor:
    """The operator has no fake implementation."""
    return q @ k.transpose(-1, -2)


class CustomOperator(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return scores(x, x).softmax(-1) @ x


class NeedsNumpy(nn.Module):
    """Converts to numpy and back."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        order = torch.from_numpy(x[0, :, 0].detach().numpy().argsort())
        return self.project(x[:, order])


class TooShort(nn.Module):
    """Fails at any length, on fake tensors and on real ones."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ x[:, : x.shape[1] - 1]


def _flex(x: Tensor, mask_mod: object) -> Tensor:
    n = x.shape[1]
    x = x.view(x.shape[0], n, 4, 16).transpose(1, 2)
    mask = create_block_mask(mask_mod, None, None, n, n, device=x.device)
    return flex_attention(x, x, x, block_mask=mask)


class CausalWindow(nn.Module):
    """FlexAttention with a causal window of 100 keys, the query's among them."""

    def forward(self, x: Tensor) -> Tensor:
        return _flex(x, lambda b, h, i, j: (i >= j) & (i - j < 100))


class Documents(nn.Module):
    """Documents of 300 tokens each, by a tensor that the mask function reads."""

    def forward(self, x: Tensor) -> Tensor:
        document = torch.arange(x.shape[1], device=x.device) // 300
        return _flex(x, lambda b, h, i, j: document[i] == document[j])


class DocumentsByContent(nn.Module):
    """Two documents, divided at a token that depends on the content."""

    def forward(self, x: Tensor) -> Tensor:
        document = torch.arange(x.shape[1]) >= x[0, :, 0].argmax() // 200 * 200 + 100
        return _flex(x, lambda b, h, i, j: document[i] == document[j])
