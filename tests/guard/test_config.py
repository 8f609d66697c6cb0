"""Reading contracts: what is accepted, and the errors for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from guard_contracts import EAGER, SDPA
from guard_project import contract

from attnprof.guard.config import read_configuration
from attnprof.guard.contract import ConfigurationError


def test_every_key_of_a_contract_is_read_from_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\n\n[tool.attnprof.guard.encoder]\ntarget = "mypkg.attn:build"\n'
        "len = [1024, 2048, 4096, 8192]\n"
        'growth.macs = "linear"\ngrowth.peak_bytes = "n log n"\n'
        'macs = "+0%"\npeak_bytes = "+1%"\nmax.peak_bytes = "512 MiB"\n'
        'time = { reference = "bert-sdpa", at = 4096, max = 0.6 }\nuncounted = "forbid"\n'
    )
    configuration = read_configuration(start=tmp_path)
    (encoder,) = configuration.contracts.values()
    assert configuration.lock_path == tmp_path / "attnprof.lock.json"
    assert (encoder.name, encoder.line, encoder.target) == ("encoder", 4, "mypkg.attn:build")
    assert encoder.lengths == (1024, 2048, 4096, 8192)
    assert str(encoder.growth["macs"]) == "linear"
    assert str(encoder.growth["peak_bytes"]) == "n log n"
    assert encoder.budgets == {"peak_bytes": 512 * 2**20}
    assert encoder.time is not None
    assert (encoder.time.reference, encoder.time.at, encoder.time.max) == ("bert-sdpa", 4096, 0.6)
    assert encoder.forbids_uncounted


def test_both_files_are_found_from_a_folder_below_them(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(SDPA)
    (tmp_path / "pyproject.toml").write_text(EAGER.replace("[guard", "[tool.attnprof.guard"))
    below = tmp_path / "src" / "pkg"
    below.mkdir(parents=True)
    (below / "pyproject.toml").write_text("[project]\nname = 'without'\n")
    configuration = read_configuration(start=below)
    assert configuration.folder == tmp_path
    assert set(configuration.contracts) == {"sdpa", "eager"}


ERRORS = {
    'growth.macs = "cubicish"': r":4: guard.a.growth.macs = 'cubicish': must be constant, linear",
    'growth.params = "linear"': r":4: guard.a.growth.params: unknown key",
    'growth = "linear"': r":4: guard.a.growth = 'linear': must be a table with a law per quantity",
    'growht.macs = "linear"': r":4: guard.a.growht: unknown key; did you mean growth\?",
    'macs = "1%"': r""":4: guard.a.macs = '1%': must be "\+1%", "±0%" """.strip(),
    "macs = 3": r":4: guard.a.macs = 3: ",
    'max.peak_bytes = "512 MB/s"': r":4: guard.a.max.peak_bytes = .*\"512 MiB\"",
    "max.macs = -1": r":4: guard.a.max.macs = -1: .*\"3 GMac\"",
    'time = { reference = "bert-sdpa" }': r":4: guard.a.time.at: must be a length in tokens",
    'time = { reference = "bert-sdpb", at = 512, max = 1 }': r"time.reference .*mean bert-sdpa",
    'time = { reference = "bert-sdpa", at = 512, max = 0 }': r".max = 0: must be a ratio above 0",
    'uncounted = "maybe"': r":4: guard.a.uncounted = 'maybe': must be \"forbid\" or \"allow\"",
    'device = "tpu"': r":4: guard.a.device = 'tpu': must be cpu or cuda",
    'device = "auto"': r":4: guard.a.device = 'auto': must be cpu or cuda",
    "window = [1, 2]": r":4: guard.a.window = \[1, 2\]: must be one value",
    'window = "7"': r":4: guard.a.window = '7': must be an even number of keys",
    'dtype = "float31"': r":4: guard.a.dtype = 'float31': unknown; did you mean float32\?",
    'input = "x=batch,len"': r":4: guard.a.input = .*applies to custom kernels only",
    'hf = "x.json"': r":2: guard.a.target: set target or hf, not both",
}


@pytest.mark.parametrize(("line", "expected"), ERRORS.items(), ids=ERRORS.keys())
def test_an_error_in_a_contract_is_one_line_with_file_and_key(
    tmp_path: Path, line: str, expected: str
) -> None:
    path = tmp_path / "attnprof.toml"
    path.write_text(contract("a", "longformer-banded", [512], line))
    with pytest.raises(ConfigurationError, match=expected) as caught:
        read_configuration(path)
    assert str(caught.value).startswith(f"{path}:")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (SDPA + SDPA, "twice"),
        ("", "no contract found; write one"),
        ("guard = 3", "guard is not a table"),
        ("[guard.a", "is not valid TOML"),
        ("[guard.a]\nlen = [256]\n", "guard.a.target: is missing; set target = "),
        ('[guard.a]\ntarget = "bert-sdpa"\n', "guard.a.len: must be lengths in tokens"),
        ('[guard.a]\ntarget = "bert-sdpa"\nlen = [true]\n', "guard.a.len = True: must be lengths"),
        ('[guard.a]\ntarget = "bert-sdpa"\nlen = "1k:2"\n', "guard.a.len = '1k:2'"),
        ('[guard.a]\ntarget = "bert-sdpb"\nlen = 256\n', "did you mean bert-sdpa"),
        ('[guard.a]\nhf = "no.json"\nlen = 256\n', "guard.a.hf = 'no.json': no such file: "),
        ('[guard."a b"]\ntarget = "bert-sdpa"\nlen = 256\n', "a contract's name has only letters"),
        ("[guard]\na = 3\n", "a contract must be a table"),
    ],
)
def test_a_file_without_a_usable_contract_is_an_error(
    tmp_path: Path, content: str, expected: str
) -> None:
    path = tmp_path / "attnprof.toml"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=expected):
        read_configuration(path)


def test_a_name_in_two_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(SDPA)
    (tmp_path / "pyproject.toml").write_text(SDPA.replace("[guard", "[tool.attnprof.guard"))
    with pytest.raises(ConfigurationError, match=r"is defined twice, first in .*attnprof\.toml; "):
        read_configuration(start=tmp_path)


def test_the_device_of_a_contract_is_part_of_what_the_lock_describes(tmp_path: Path) -> None:
    path = tmp_path / "attnprof.toml"
    subjects = []
    for line in ("", 'device = "cpu"', 'device = "cuda"'):
        path.write_text(contract("a", "bert-sdpa", [512], line))
        subjects.append(read_configuration(path).contracts["a"].subject)
    assert subjects[0] == subjects[1]  # locks of contracts without the key stay valid
    assert subjects[2] == subjects[0] | {"device": "cuda"}
