"""Small mixers of tokens, each with a law of its own."""

import math

import torch
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import pad, scaled_dot_product_attention


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 64)


class Dense(Mixer):
    def forward(self, x):
        return scaled_dot_product_attention(self.linear(x), x, x)


class Linear(Mixer):
    def forward(self, x):
        return self.linear(x) @ (x.transpose(1, 2) @ x)


class Chunked(Mixer):
    """Pads its input to multiples of 64 tokens, and attends inside blocks of 64."""

    def forward(self, x):
        x = self.linear(pad(x, (0, 0, 0, -x.shape[1] % 64)))
        blocks = x.view(x.shape[0], -1, 64, 64)
        return blocks @ blocks.transpose(-1, -2) @ blocks


class PaddedDense(Mixer):
    """Projects what there is, and pads what it attends to."""

    def forward(self, x):
        x = pad(self.linear(x), (0, 0, 0, -x.shape[1] % 48))
        return x @ x.transpose(1, 2) @ x


class Butterfly(Mixer):
    """One product of pairs for each bit of the length, as a fast Fourier transform."""

    def forward(self, x):
        for _ in range(math.ceil(math.log2(x.shape[1]))):
            pairs = pad(x, (0, 0, 0, x.shape[1] % 2)).view(x.shape[0], -1, 2, 64)
            x = (torch.ones(2, 2) @ pairs).flatten(1, 2)[:, : x.shape[1]]
        return self.linear(x)


class BlockSqrt(Mixer):
    """Blocks of about sqrt n tokens."""

    def forward(self, x):
        block = round(math.sqrt(x.shape[1]))
        x = pad(self.linear(x), (0, 0, 0, -x.shape[1] % block))
        blocks = x.view(x.shape[0], -1, block, 64)
        return blocks @ blocks.transpose(-1, -2) @ blocks


class Loop(Mixer):
    """A Python loop over blocks of 64 tokens, the last of them shorter."""

    def forward(self, x):
        return torch.cat([b @ b.transpose(1, 2) @ b for b in self.linear(x).split(64, 1)], 1)


class Flex(Mixer):
    """FlexAttention with a causal window of 100 keys."""

    def forward(self, x):
        def near(batch, head, query, key):
            return (query >= key) & (query - key < 100)

        length = x.shape[1]
        blocks = create_block_mask(near, None, None, length, length, device=x.device)
        heads = x.view(x.shape[0], length, 4, 16).transpose(1, 2)
        return flex_attention(heads, heads, heads, block_mask=blocks)


class Windowed(Mixer):
    """Attends to 4,096 tokens at most."""

    def forward(self, x):
        near = x[:, :4096]
        return self.linear(x) @ near.transpose(1, 2) @ near


class Blocks(Mixer):
    """Takes multiples of 40 tokens only."""

    def forward(self, x):
        blocks = self.linear(x).view(x.shape[0], -1, 40, 64)
        return blocks @ blocks.transpose(-1, -2) @ blocks


class Positions(Mixer):
    """Has positions for 512 tokens."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(512, 64))

    def forward(self, x):
        x = x + self.table[: x.shape[1]]
        return x @ x.transpose(1, 2)


class Nothing(Mixer):
    def forward(self, x):
        return x + 1
