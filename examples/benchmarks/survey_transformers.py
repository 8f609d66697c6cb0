"""Whether counts are right: fake tensors against a real run, for every model type of transformers.

    python examples/benchmarks/survey_transformers.py                  # every text model
    python examples/benchmarks/survey_transformers.py bert mamba2      # these
    python examples/benchmarks/survey_transformers.py vit --input "pixel_values=batch,3,32,32"

Each type of model is built from its default config, made tiny, and counted twice in a separate
process: on fake tensors, as attnprof does, and by the operators that a real run dispatches. A table
reports for each type and mode:

- `exact`: both counts are the same to the last MAC;
- `real`: it does not run on fake tensors, so attnprof counts it in a real run;
- `uncounted`: the operators that have no formula;
- `refused`: why it could not be built or run at all;
- `timeout`: mostly a model that iterates over tokens in Python.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

LENGTH = 640
"""More than one block of 512 keys, where causal attention skips some and masked attention none."""

LAYERS = 3
MAX_SECONDS = 180.0
MAX_PARAMETERS = 60_000_000
MODES = ("inference", "training")

NAMES_BY_SIZE = {
    1: "topk_group",
    LAYERS: "num_hidden_layers num_layers n_layer n_layers encoder_layers decoder_layers "
    "num_encoder_layers num_decoder_layers num_blocks",
    4: "num_attention_heads n_head n_heads num_heads encoder_attention_heads "
    "decoder_attention_heads num_encoder_attention_heads num_decoder_attention_heads "
    "linear_num_value_heads",
    2: "num_key_value_heads linear_num_key_heads num_experts_per_tok moe_topk n_group "
    "mamba_n_heads",
    8: "num_experts num_local_experts n_routed_experts moe_num_experts laurel_rank",
    16: "head_dim attention_head_size d_kv kv_channels global_head_dim linear_key_head_dim "
    "linear_value_head_dim hidden_size_per_layer_input qk_rope_head_dim qk_nope_head_dim "
    "v_head_dim rotary_dim",
    32: "moe_intermediate_size shared_expert_intermediate_size",
    64: "hidden_size d_model n_embd dim embed_dim emb_dim embedding_size input_embedding_size "
    "embedding_dim word_embed_proj_dim true_hidden_size",
    128: "intermediate_size ffn_dim d_ff encoder_ffn_dim decoder_ffn_dim n_inner "
    "feed_forward_size ffn_hidden_size dense_ffn_dim",
    512: "vocab_size decoder_vocab_size vocab_size_per_layer_input encoder_hash_byte_group_vocab",
}
SIZES = {name: size for size, names in NAMES_BY_SIZE.items() for name in names.split()}
"""What a config is given by these names, where its own value is larger."""

POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")
"""These are made large enough for the length."""

NEEDED = ("vocab_size", "n_routed_experts", "num_experts_per_tok", "num_experts", "head_dim")
"""Values without a default in some configs."""

DROPPED = ("per_layer_config",)
"""Values for layers that a tiny model does not have."""

EXTRA: dict[str, dict[str, Any]] = {
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_theta": 10000.0}}},
    "dory": {"n_input_layers": 1, "n_recurrent_layers": 1, "n_output_layers": 1},
    "esmc": {"num_key_value_heads": 4},
    "funnel": {"architectures": ["FunnelModel"]},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "mamba2": {"head_dim": 32, "n_groups": 2},
    "nystromformer": {"segment_means_seq_len": LENGTH, "num_landmarks": 16},
    "reformer": {"axial_pos_shape": [20, LENGTH // 20], "axial_pos_embds_dim": [32, 32]},
}
"""Further values that single types need."""


def tiny(values: dict[str, Any]) -> dict[str, Any]:
    """Make the values of a config small; lists with a value per layer keep one of each kind."""
    layers = {values[name] for name in NAMES_BY_SIZE[LAYERS].split() if name in values}
    small: dict[str, Any] = {}
    for name, value in values.items():
        if name in DROPPED:
            continue
        if isinstance(value, dict):
            small[name] = tiny(value)
        elif isinstance(value, list) and value and len(value) in layers:
            kinds = [item for index, item in enumerate(value) if item not in value[:index]]
            small[name] = (kinds + value)[:LAYERS] if len(kinds) <= LAYERS else value[:LAYERS]
        elif type(value) is int and name in SIZES and value > SIZES[name]:
            small[name] = SIZES[name]
        elif type(value) is int and name in POSITIONS:
            small[name] = max(value, 2 * LENGTH)
        elif value is None and name in NEEDED:
            small[name] = SIZES[name]
        elif type(value) is int and name.endswith("_token_id") and value >= 512:
            small[name] = value % 16
        else:
            small[name] = value
    if "kv_lora_rank" in values and "num_attention_heads" in small:  # each head has its own keys
        small["num_key_value_heads"] = small["num_attention_heads"]
    return small


def text_types() -> list[str]:
    """The types that take tokens: those that have a language-model head."""
    from transformers.models.auto import modeling_auto as auto

    heads = ("CAUSAL_LM", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM")
    named: set[str] = set()
    for head in heads:
        named |= set(getattr(auto, f"MODEL_FOR_{head}_MAPPING_NAMES"))
    return sorted(named & set(auto.MODEL_MAPPING_NAMES))


def survey(kind: str, inputs: tuple[str, ...]) -> list[tuple[str, str]]:
    """For each mode, the verdict on one type and its details."""
    from transformers import CONFIG_MAPPING

    from attnprof import AttentionPattern, Workload
    from attnprof.core.errors import describe_error
    from attnprof.kernels import custom
    from attnprof.kernels.custom import with_inputs

    workload = Workload(AttentionPattern.dense(4), LENGTH, hidden_size=64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        try:
            values = tiny(CONFIG_MAPPING[kind]().to_dict()) | EXTRA.get(kind, {})
            path.write_text(json.dumps({**values, "model_type": kind}, default=str))
            target = custom.find(with_inputs(str(path), inputs))
            parameters = target.parameters(workload)
        except Exception as error:
            return [("refused", describe_error(error)[:300])] * len(MODES)
        if parameters > MAX_PARAMETERS:
            return [("refused", f"not made tiny: {parameters:,} parameters")] * len(MODES)
        return [verdict(target, replace(workload, mode=mode)) for mode in MODES]


def verdict(target: Any, workload: Any) -> tuple[str, str]:
    """Whether the count of a call on fake tensors equals that of a real run."""
    from attnprof.core.errors import describe_error
    from attnprof.counting.fake_tensors import fake_mode, needs_real_values
    from attnprof.counting.operator_counts import count_operators

    try:
        real = count_operators(target.build(workload).run)
    except Exception as error:
        return "refused", describe_error(error)[:300]
    try:
        with fake_mode():
            fake = count_operators(target.build(workload).run)
    except Exception as error:
        why = "needs real values" if needs_real_values(error) else describe_error(error)[:160]
        names = f"; uncounted {', '.join(sorted(real.uncounted))}" if real.uncounted else ""
        return "real", f"{real.macs:,} ({why}{names})"
    if fake.uncounted or real.uncounted:
        names = ", ".join(sorted({*fake.uncounted, *real.uncounted}))
        return ("uncounted" if fake.uncounted == real.uncounted else "WRONG"), names
    if fake.macs != real.macs:
        return "WRONG", f"{fake.macs:,} on fake tensors, {real.macs:,} in a real run"
    return "exact", f"{real.macs:,}"


def main() -> None:
    """Survey all types one after the other, and print a line of the table for each."""
    from attnprof.isolation.fork_server import ForkServer

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("types", nargs="*", help="types of models; every text model if none")
    parser.add_argument("--input", action="append", default=[], help="as attnprof's --input")
    options = parser.parse_args()
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    modules = ["torch", "transformers", "transformers.masking_utils", "survey_transformers"]
    totals: Counter[str] = Counter()
    import survey_transformers

    begun = time.perf_counter()
    with ForkServer(modules, {"PYTHONPATH": path}) as server:
        for kind in options.types or text_types():
            outcome = server.run(
                survey_transformers.survey, kind, tuple(options.input), max_seconds=MAX_SECONDS
            )
            ended = "timeout" if outcome.status == "timeout" else "CRASHED"
            lost = [(ended, outcome.failure)] * len(MODES)
            for mode, (word, details) in zip(MODES, outcome.value or lost, strict=True):
                totals[f"{word} in {mode}"] += 1
                print(f"{kind:28} {mode:10} {word:10} {details}", flush=True)
    for name, number in sorted(totals.items()):
        print(f"{number:4} {name}")
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
