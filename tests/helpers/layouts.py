"""Modules and functions with inputs of different layouts, and factories of them."""

import torch
from torch import nn


def call(seq_len):
    return torch.matmul, {"input": torch.zeros(seq_len, 8), "other": torch.zeros(8, seq_len)}


def scores(x, /):
    return x @ x.mT


def fixed():
    return nn.Linear(64, 64), {"input": torch.zeros(1, 32, 64)}


class Sequence(nn.Module):
    """Contains a layer that takes the length first, and passes its input unchanged."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(64, 4, 128)

    def forward(self, x):
        return self.encoder(x)


class Transposing(Sequence):
    def forward(self, x):
        return self.encoder(x.transpose(0, 1)).transpose(0, 1)


class Tokens(Sequence):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(100, 64)

    def forward(self, tokens):
        return self.encoder(self.table(tokens))


class Folding(Sequence):
    """Passes an input of neither layout to the layer."""

    def forward(self, x):
        return self.encoder(x.flatten(0, 1)[None])


def layer():
    return nn.TransformerEncoderLayer(64, 4, 128)


def encoder():
    return nn.TransformerEncoder(layer(), 1, enable_nested_tensor=False)


def attention():
    return nn.MultiheadAttention(64, 4)


def gru():
    return nn.GRU(64, 64)


def in_sequence():
    return nn.Sequential(nn.Identity(), layer())
