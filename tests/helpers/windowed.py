"""Layers that declare a window of 16 keys, and what becomes of it."""

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

WIDTH, HEADS, WINDOW = 32, 2, 16


class Windowed(nn.Module):
    """Masks a dense product: a query attends to itself and the keys before it in the window."""

    def __init__(self):
        super().__init__()
        self.window_size = WINDOW
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def mask(self, x):
        position = torch.arange(x.shape[1])
        distance = position[:, None] - position
        return (distance >= 0) & (distance < self.window_size)

    def forward(self, x):
        heads = self.qkv(x).view(*x.shape[:2], 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        context = scaled_dot_product_attention(*heads, attn_mask=self.mask(x))
        return context.transpose(1, 2).flatten(2)


class Ignored(Windowed):
    """Forgets its window."""

    def mask(self, x):
        return None


class FromData(Windowed):
    """Attends to keys whose first feature is positive."""

    def mask(self, x):
        return (x[:, :, 0] > 0)[:, None, None]


class Frozen(Windowed):
    """Has a weight that is not trained."""

    def __init__(self):
        super().__init__()
        self.qkv.weight.requires_grad_(False)


class Plain(nn.Module):
    """No attention at all."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return self.linear(x)
