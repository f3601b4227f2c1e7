"""The results as one table of text: ratios side by side, with their spread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from bench.scenarios import Sample, Scenario

Rounds = Sequence[Mapping[str, Sample]]
"""What each contender measured, round by round."""

UNITS = {
    "cpu": "CPU per item, µs",
    "cpu_each": "CPU per stream, µs",
    "p50": "p50, µs",
    "added_p50": "added p50, µs",
    "rate": "items/s",
    "delay_p50": "chunk delay p50, µs",
    "delay_p99": "chunk delay p99, µs",
    "first_p50": "first token p50, µs",
    "first_p99": "first token p99, µs",
    "added_first": "added first token, µs",
    "memory": "memory, MB",
}
HEAD = ("scenario", "figure", "direct", "nginx", "it", "to nginx", "spread", "to direct")


def ratios(rounds: Rounds, figure: str, one: str, other: str) -> list[float]:
    """The figure of `one` divided by that of `other`, in each round, smallest first."""
    return sorted(
        at[one][figure] / at[other][figure]
        for at in rounds
        if figure in at[one] and at[other].get(figure, 0.0) > 0
    )


def rows(scenario: Scenario, rounds: Rounds, name: str) -> Iterable[tuple[str, ...]]:
    """The lines of one contender in one scenario."""
    for figure in scenario.figures:
        to_nginx = ratios(rounds, figure, name, "nginx")
        to_direct = ratios(rounds, figure, name, "direct")
        yield (
            scenario.name,
            UNITS[figure],
            _middle(rounds, "direct", figure),
            _middle(rounds, "nginx", figure),
            _middle(rounds, name, figure),
            f"{median(to_nginx):.2f}" if to_nginx else "-",
            f"{to_nginx[0]:.2f}-{to_nginx[-1]:.2f}" if to_nginx else "-",
            f"{median(to_direct):.2f}" if to_direct else "-",
        )


def render(lines: Iterable[tuple[str, ...]], name: str) -> str:
    """A Markdown table that can also be read as it is."""
    head = tuple(name if cell == "it" else cell for cell in HEAD)
    table = [head, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(_line(cells, widths) for cells in (table[0], rule, *table[1:]))


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _middle(rounds: Rounds, name: str, figure: str) -> str:
    values = [at[name][figure] for at in rounds if at[name].get(figure, 0.0)]
    if not values:
        return "-"
    value = median(values)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"
