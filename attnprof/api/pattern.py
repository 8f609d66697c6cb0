"""Options of `attnprof pattern` in, panels of a picture out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attnprof import kernels
from attnprof.core.errors import UsageError
from attnprof.core.notation import layer_pattern, parse_window
from attnprof.core.option_values import split_values
from attnprof.core.pattern import AttentionPattern
from attnprof.core.shape import read_shape
from attnprof.core.workload import Workload
from attnprof.options import (
    GridOptions,
    read_counting_device,
    read_kernel_names,
    read_workloads,
    reject_unknown_options,
)
from attnprof.report.formats import without_warnings_of
from attnprof.report.image_forms import ImageForm, read_image_form
from attnprof.report.outputs import OutputOptions, Outputs, Renderer
from attnprof.report.pattern.panels import Panel, panels_of

Panels = tuple[Panel, ...]

WINDOW = "8"
WINDOW_OF_KERNELS = "128"
"""Windows that one can see: keys, and blocks of keys."""

LENGTH_IN_WINDOWS = 4

LENGTH_OF_MASKS = 1024
"""Tokens at which masks are drawn: their blocks and chunks have hundreds."""

MAX_LENGTH = 2**20
MAX_PANELS = 60

_PATTERN = ("window", "pattern", "dilation", "global_tokens", "model", "causal")
"""Options that choose patterns; without them, those of the paper's figure are drawn."""


class PatternOptions(GridOptions, total=False):
    """Options of `attnprof pattern`."""

    png: str | None
    svg: str | None


@dataclass(frozen=True, slots=True)
class PatternRequest:
    """A picture, checked and ready to be drawn."""

    panels: Panels
    outputs: Outputs[Panels]

    def run(self) -> Panels:
        """Write the requested outputs."""
        self.outputs.save(self.panels)
        return self.panels


def prepare_pattern(options: PatternOptions) -> PatternRequest:
    """Check the options of a picture.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    reject_unknown_options(options, PatternOptions)
    paths: OutputOptions = {"png": options.get("png"), "svg": options.get("svg")}
    outputs = Outputs[Panels].read(
        paths,
        {
            "png": _renderer(read_image_form("png", paths.get("png"))),
            "svg": _renderer(read_image_form("svg", paths.get("svg"))),
        },
    )
    names = _read_built_in_names(options)
    model = read_shape(options).model
    panels = panels_of(_read_workloads(options, has_kernels=bool(names)), names, model.num_layers)
    if len(panels) > MAX_PANELS:
        has_layers = any(panel.part.startswith("layer") for panel in panels)
        has_mask = options.get("pattern") is not None
        option = "pattern" if has_mask else "window" if has_layers else "dilation"
        expected = f"gives {len(panels)} panels; must give at most {MAX_PANELS}"
        raise UsageError(option, options.get(option) or "(default)", expected)
    return PatternRequest(panels, outputs)


def _renderer(form: ImageForm) -> Renderer[Panels]:
    def render(panels: Panels) -> str | bytes:
        from attnprof.report.pattern.layout import draw

        if form == "svg":
            from attnprof.report.pattern.svg import to_svg

            return to_svg(draw(panels), on_paper=True)
        with without_warnings_of("matplotlib"):
            from attnprof.report.pattern.figure import to_image

            return to_image(draw(panels), form)

    return render


def _read_built_in_names(options: PatternOptions) -> list[str]:
    if options.get("kernel") is None:
        return []
    names = read_kernel_names(options)
    for name in names:
        if kernels.is_custom(name):
            expected = "must be a built-in kernel: what a custom kernel attends to is not known"
            raise UsageError("kernel", name, expected)
        kernels.find_built_in(name)
    return names


def _read_workloads(options: PatternOptions, *, has_kernels: bool) -> list[Workload]:
    """One length with every pattern; the patterns of the paper's figure 2 if none is chosen."""
    device = read_counting_device(options)
    model = options.get("model")
    chosen: PatternOptions = {**options}
    has_mask = options.get("pattern") is not None
    if model is None and options.get("window") is None and not has_mask:
        chosen["window"] = WINDOW_OF_KERNELS if has_kernels else WINDOW
    if options.get("len") is None:
        in_windows = LENGTH_IN_WINDOWS * max(1, _widest_window(chosen))
        chosen["len"] = LENGTH_OF_MASKS if has_mask else in_windows
    workloads = read_workloads(chosen, device)
    lengths = {workload.seq_len for workload in workloads}
    if len(lengths) > 1:
        raise UsageError("len", " ".join(map(str, sorted(lengths))), "must be one length")
    if max(lengths) > MAX_LENGTH:
        raise UsageError("len", max(lengths), f"must be at most {MAX_LENGTH:,} tokens")
    if has_kernels or any(options.get(name) is not None for name in _PATTERN):
        return workloads
    return _figure_2(workloads[0])


def _widest_window(options: PatternOptions) -> int:
    """The largest window of all layers, in keys; 0 if all are dense."""
    shape = read_shape(options)
    layers = [
        layer_pattern(window, num_heads=1, causal=shape.causal)
        for text in split_values(options, "window", (shape.model.window,))
        for window in parse_window(text, causal=shape.causal)
    ]
    return max(layer.window or 0 for layer in layers)


def _figure_2(workload: Workload) -> list[Workload]:
    """Full, sliding, dilated, and global with sliding (Longformer, arXiv 2004.05150, figure 2)."""
    window, heads = int(WINDOW), workload.num_heads
    patterns = (
        AttentionPattern.dense(heads),
        AttentionPattern.sliding(window, num_heads=heads),
        AttentionPattern.sliding(window, 2, num_heads=heads),
        AttentionPattern.sliding(window, 1, (0,), num_heads=heads),
    )
    return [replace(workload, pattern=pattern) for pattern in patterns]
