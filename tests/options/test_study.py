from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnprof import AttentionPattern, Workload
from attnprof.core.errors import UsageError
from attnprof.core.workload import Case, DType
from attnprof.options.selection import Groups, read_groups, read_selection

HEADS, HIDDEN = 2, 32
SHAPE = f"hidden_size = {HIDDEN}\nnum_heads = {HEADS}\nglobal_tokens = 0\n"
AXES: dict[str, list[Any]] = {
    "kernel": ["bert-sdpa", "longformer-masked", "longformer-banded"],
    "len": [16, 32, 48],
    "window": [4, 8],
    "dilation": [1, 2],
    "dtype": ["float32", "bfloat16"],
    "batch_size": [1, 2],
}


def groups_of(folder: Path, text: str, shard: str | None = None) -> Groups:
    file = folder / "study.toml"
    file.write_text(text)
    selection = read_selection({"sweep": str(file), "shard": shard})
    return read_groups(selection, dict.fromkeys(selection.device_names, "cpu"))


def table(values: dict[str, list[Any]]) -> str:
    return "".join(f"{key} = {value!r}\n" for key, value in values.items())


def case_of(values: dict[str, Any]) -> Case:
    """The case of one value of each axis, without the code that reads options."""
    pattern = AttentionPattern.sliding(values["window"], values["dilation"], num_heads=HEADS)
    if values["kernel"] == "bert-sdpa":
        pattern = AttentionPattern.dense(HEADS)
    workload = Workload(
        pattern,
        values["len"],
        hidden_size=HIDDEN,
        batch_size=values["batch_size"],
        dtype=cast("DType", values["dtype"]),
    )
    return Case(values["kernel"], workload)


def is_left_out(values: dict[str, Any], exclude: dict[str, list[Any]]) -> bool:
    """Dense attention has no window and no dilation, so that no value of these matches it."""
    return all(
        values[key] in named
        and not (values["kernel"] == "bert-sdpa" and key in ("window", "dilation"))
        for key, named in exclude.items()
    )


@st.composite
def axes(draw: st.DrawFn, *, are_all: bool) -> dict[str, list[Any]]:
    chosen = list(AXES) if are_all else draw(st.lists(st.sampled_from(list(AXES)), min_size=1))
    return {
        key: draw(st.lists(st.sampled_from(AXES[key]), min_size=1, unique=True))
        for key in dict.fromkeys(chosen)
    }


@given(axes(are_all=True), axes(are_all=False))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_excludes_leave_out_what_enumeration_leaves_out(
    tmp_path: Path, grid: dict[str, list[Any]], exclude: dict[str, list[Any]]
) -> None:
    every = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    kept = {case_of(values) for values in every if not is_left_out(values, exclude)}
    text = f"[grid]\n{SHAPE}{table(grid)}[[exclude]]\n{table(exclude)}"
    if len(kept) == len({case_of(values) for values in every}) or not set(
        exclude.get("kernel", grid["kernel"])
    ) <= set(grid["kernel"]):
        with pytest.raises(UsageError, match=r"matches no case|is not in the grid"):
            groups_of(tmp_path, text)
        return
    if not kept:
        with pytest.raises(UsageError, match=r"the excludes leave no case"):
            groups_of(tmp_path, text)
        return
    groups = groups_of(tmp_path, text)
    cases = [case for group in groups.every for case in group]
    assert len(cases) == len(set(cases))
    assert set(cases) == kept


@given(axes(are_all=True))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_group_is_what_shares_length_and_shape_whatever_the_order_of_keys(
    tmp_path: Path, grid: dict[str, list[Any]]
) -> None:
    groups = groups_of(tmp_path, f"[grid]\n{SHAPE}{table(grid)}")
    expected = product(grid["len"], grid["dtype"], grid["batch_size"])
    shared = [
        {(c.workload.seq_len, c.workload.dtype, c.workload.batch_size) for c in group}
        for group in groups.every
    ]
    assert all(len(one) == 1 for one in shared)
    assert sorted(one.pop() for one in shared) == sorted(expected)
    assert [group[0].workload.seq_len for group in groups.every] == sorted(
        group[0].workload.seq_len for group in groups.every
    )
    reordered = dict(reversed(grid.items()))
    again = groups_of(tmp_path, f"[grid]\n{table(reordered)}{SHAPE}")
    assert (again.every, again.digest) == (groups.every, groups.digest)


def test_an_include_joins_the_group_that_it_belongs_to(tmp_path: Path) -> None:
    groups = groups_of(
        tmp_path,
        f'[grid]\n{SHAPE}kernel = "bert-sdpa"\nlen = [16, 32]\ndtype = ["float32", "bfloat16"]\n'
        f'[[include]]\n{SHAPE}kernel = ["longformer-masked", "bert-sdpa"]\nlen = 32\nwindow = 4\n',
    )
    names = [[case.kernel for case in group] for group in groups.every]
    assert names.count(["bert-sdpa", "longformer-masked"]) == 1
    assert sum(map(len, names)) == 5
    (joined,) = (group for group in groups.every if len(group) == 2)
    assert {case.workload.dtype for case in joined} == {"float32"}
    assert {groups.settings[case] for case in joined} == {"float32"}


def test_settings_are_named_by_the_options_that_differ(tmp_path: Path) -> None:
    groups = groups_of(
        tmp_path,
        '[grid]\nlen = 16\nkernel = "bert-sdpa"\nhidden_size = 32\nnum_heads = [2, 4]\n'
        'mode = ["inference", "training"]\nbatch_size = 2\n',
    )
    assert sorted(set(groups.settings.values())) == [
        "inference, 2 heads",
        "inference, 4 heads",
        "training, 2 heads",
        "training, 4 heads",
    ]
    one = groups_of(tmp_path, '[grid]\nlen = [16, 32]\nkernel = "bert-sdpa"\n')
    assert set(one.settings.values()) == {""}


def test_a_config_is_found_beside_the_study(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text('[grid]\nlen = 16\nkernel = ["a/config.json::layer"]\n')
    (name,) = read_selection({"sweep": str(tmp_path / "study.toml")}).kernel_names
    assert (Path.cwd() / name.partition("::")[0]).resolve() == tmp_path / "a" / "config.json"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[grid]\nlen = 16\ndtyp = "float32"', ":3: grid.dtyp: unknown; did you mean dtype?"),
        ("[gird]\nlen = 16", ":1: gird: unknown; did you mean grid?"),
        ("[grid]\nlen = []", ":2: grid.len []: needs at least one value"),
        ("[grid]\nlen = [16, [3]]", ":2: grid.len [3]: must be text or a whole number, or a list"),
        ("[grid]\nlen = 1.5", ":2: grid.len 1.5: must be text or a whole number"),
        ("[grid]\nlen = true", ":2: grid.len true: must be text or a whole number"),
        (
            "[grid]\nlen = [[true, 'a'], 3]",
            ':2: grid.len [true, "a"]: must be text or a whole number',
        ),
        ("[grid]\nlen = {a = 1}", ":2: grid.len { a = 1 }: must be text or a whole number"),
        (
            "[grid]\nlen = 16\n[[exclude]]\nlen = 16\n[[exclude]]\nlen = false",
            ":6: exclude 2, len false: must be text or a whole number",
        ),
        ("[grid]\nlen = 16\n[[exclude]]\nlen = 16", "study.toml: the excludes leave no case"),
        ('[grid]\ncausal = "yes"', ":2: grid.causal yes: must be true or false"),
        ('[grid]\nmodel = ""', ':2: grid.model "": needs a value'),
        ('[grid]\nlen = 16\ndtype = ["float3"]', ":3: grid.dtype float3: unknown; did you mean"),
        ("[grid]\nlen = 16\nbatch_size = 0", ":3: grid.batch_size 0: must be a positive"),
        ("[grid]\nmax_seconds = 3", ":2: grid.max_seconds: selects no cases; give --max-seconds"),
        ("[grid]\n", ":1: grid: is empty"),
        ("", ": has no table [grid]"),
        ("[grid]\nlen = 1 2", ": is not valid TOML"),
        ("grid = 3", ":1: grid: must be a table"),
        ("[grid]\nlen = 16\n[exclude]\nlen = 16", ":3: exclude: must be a list of tables"),
        ("[grid]\nlen = 16\n[[exclude]]\nlen = 17", ":3: exclude 1: matches no case"),
        ("[grid]\nlen = 16\n[[exclude]]\nlen = 'x'", ":4: exclude 1, len x: must be a positive"),
        (
            "[grid]\nlen = 16\n[[exclude]]\nkernel = 'bert-eagr'",
            ":4: exclude 1, kernel bert-eagr: is not in the grid; did you mean bert-eager?",
        ),
        (
            "[grid]\nlen = 16\n[[include]]\nlen = 32\n\n[[include]]\nlen = 16\nwindow = 3",
            ":8: include 2, window 3: must be an even number",
        ),
    ],
)
def test_an_error_names_the_line_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        groups_of(tmp_path, text)
    assert message in f"{caught.value.value}: {caught.value.expected}"
    assert caught.value.argument == "sweep"


def test_options_that_select_cases_are_refused_beside_a_study(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("[grid]\nlen = 16\n")
    options = {"sweep": str(tmp_path / "study.toml"), "len": 16, "batch_size": 2, "no_time": True}
    with pytest.raises(UsageError, match=r"selects the cases; remove --len, --batch-size$"):
        read_selection(options)


def test_an_unreadable_study_is_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.toml", "no such file"), (tmp_path, "cannot be read")):
        with pytest.raises(UsageError, match=reason):
            read_selection({"sweep": str(path)})
