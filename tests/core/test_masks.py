"""Built-in masks against their definitions, written out pair by pair from their papers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnprof.core import masks
from attnprof.core.built_in_mask import BuiltInMask, parse_built_in
from attnprof.core.errors import UsageError
from attnprof.core.mask_pattern import MaskPattern

HEADS = 3

Attends = Callable[[int, int, int], bool]


def pattern_of(text: str) -> MaskPattern:
    function = parse_built_in(text)
    assert function is not None
    return MaskPattern(num_heads=HEADS, function=function, depends_on_head=True)


def enumerated(attends: Attends, seq_len: int) -> np.ndarray:
    positions = range(seq_len)
    return np.array(
        [[[attends(h, q, k) for k in positions] for q in positions] for h in range(HEADS)]
    )


def longnet(segments: tuple[int, ...], dilations: tuple[int, ...]) -> Attends:
    """Each head keeps the rows h mod r, h mod r + r, ... of each segment of w tokens."""

    def attends(head: int, query: int, key: int) -> bool:
        for width, stride in zip(segments, dilations, strict=True):
            for begin in range(0, max(query, key) + 1, width):
                kept = range(begin + head % stride, begin + width, stride)
                if query in kept and key in kept and key <= query:
                    return True
        return False

    return attends


DEFINITIONS: dict[str, Attends] = {
    "chunked:chunk=7": lambda h, q, k: k in range(q - q % 7, q + 1),
    "prefix-lm:prefix=9": lambda h, q, k: k in range(9) or k in range(q + 1),
    "sparse-transformer-strided:stride=6": lambda h, q, k: (
        k in range(max(0, q - 6), q + 1) or k in range(q, -1, -6)
    ),
    "sparse-transformer-fixed:stride=8:summary=3": lambda h, q, k: (
        k <= q and (k // 8 == q // 8 or k % 8 in (5, 6, 7))
    ),
    "longnet:segments=4+8+32:dilations=1+2+3": longnet((4, 8, 32), (1, 2, 3)),
    "documents:lengths=5+11+8": lambda h, q, k: (
        k <= q and any(q in part and k in part for part in _documents(40))
    ),
    "documents:lengths=5+11+8:causal=0": lambda h, q, k: any(
        q in part and k in part for part in _documents(40)
    ),
}


def _documents(seq_len: int) -> tuple[range, ...]:
    return range(5), range(5, 16), range(16, 24), range(24, seq_len)


@pytest.mark.parametrize("text", DEFINITIONS)
def test_mask_is_its_definition_pair_by_pair(text: str) -> None:
    assert (pattern_of(text).mask(40) == enumerated(DEFINITIONS[text], 40)).all()


@given(
    seq_len=st.integers(1, 200),
    block=st.integers(1, 30),
    window=st.integers(1, 5),
    random=st.integers(0, 4),
    wide=st.integers(0, 4),
    seed=st.integers(0, 5),
)
@settings(max_examples=40)
def test_bigbird_has_its_window_its_global_blocks_and_as_many_random_ones(
    seq_len: int, block: int, window: int, random: int, wide: int, seed: int
) -> None:
    """Of blocks that are neither near nor global, each row has `random`, or all if fewer."""
    text = (
        f"bigbird:block={block}:window={window}:random_blocks={random}:global_blocks={wide}"
        f":seed={seed}"
    )
    mask = pattern_of(text).mask(seq_len)
    assert (mask == mask[0]).all()
    blocks = mask[0, ::block, ::block]
    # All pairs of a block are alike.
    assert (mask[0] == blocks.repeat(block, 0).repeat(block, 1)[:seq_len, :seq_len]).all()
    count = len(blocks)
    first, last = (wide + 1) // 2, wide // 2
    chosen = [*range(min(first, count)), *range(max(0, count - last), count)]
    for row in range(count):
        attended = set(blocks[row].nonzero()[0].tolist())
        if row in chosen:
            assert attended == set(range(count))
            continue
        fixed = {j for j in range(count) if abs(row - j) <= window // 2} | set(chosen)
        assert fixed <= attended
        assert len(attended - fixed) == min(random, count - len(fixed))


def test_bigbirds_random_blocks_depend_on_the_seed_alone() -> None:
    one, again, other = (pattern_of(f"bigbird:block=8:seed={seed}").mask(400) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def test_drawn_documents_have_the_mean_length_and_do_not_change_with_the_sequence() -> None:
    starts = np.diff(pattern_of("documents:mean=20:causal=0").mask(4000)[0], axis=0).any(1)
    assert 4000 / (starts.sum() + 1) == pytest.approx(20, rel=0.15)
    short, long = (pattern_of("documents:mean=20").mask(n)[0] for n in (100, 300))
    assert (short == long[:100, :100]).all()


@pytest.mark.parametrize("name", masks.names())
def test_torch_gets_the_same_mask_as_numpy(name: str) -> None:
    function = BuiltInMask(name)
    mask = function.mask_mod(300, HEADS, torch.tensor)
    positions = torch.arange(300)
    from_torch = mask(
        torch.tensor(0), torch.arange(HEADS)[:, None, None], positions[:, None], positions
    )
    expected = pattern_of(name).mask(300)
    assert (from_torch.expand(HEADS, 300, 300).numpy() == expected).all()


@pytest.mark.parametrize("name", masks.names())
def test_every_query_of_a_default_mask_attends_to_a_key(name: str) -> None:
    assert pattern_of(name).mask(500).any(2).all()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bigbird:blok=3", "has no blok; did you mean block?"),
        ("bigbird:block", "must be NAME or NAME:KEY=N:KEY=N"),
        ("bigbird:block=-3", "must be NAME or NAME:KEY=N:KEY=N"),
        ("bigbird:block=3:block=4", "has block twice"),
        ("bigbird:block=0", "block=0 must be at least 1"),
        ("bigbird:block=2+3", "block=2+3 must be one whole number"),
    ],
)
def test_a_wrong_argument_is_an_error_that_says_what_would_be_right(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=r"^pattern ") as raised:
        parse_built_in(text)
    assert reason in str(raised.value)


def test_arguments_are_written_as_they_are_read() -> None:
    for text in ("chunked", "longnet:segments=4+8:dilations=1+2", "bigbird:seed=3:block=8"):
        function = parse_built_in(text)
        assert function is not None
        assert function.text == text
    assert parse_built_in("pkg.mod:mask") is None
