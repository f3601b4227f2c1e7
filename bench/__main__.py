"""Measure LLM-Manager's proxy path beside nginx and others: `python -m bench --help`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench import alone, short
from bench.contenders import Contender, Direct, Haproxy, LiteLLM, LlamaSwap, LLMManager, Nginx
from bench.machine import Cores
from bench.scenarios import ALL, SHORT, Sample, Scenario, add_differences, measure, requests
from bench.table import ratios, render, rows
from bench.tools import BUILT, Missing, build

OTHERS: dict[str, type[Nginx]] = {"haproxy": Haproxy, "llama_swap": LlamaSwap, "litellm": LiteLLM}
MODELS = (10, 100, 1000)


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the benchmark."""

    folder: Path
    cores: Cores
    stub: Path
    load: Path
    rounds: int

    @contextmanager
    def started(self, *contenders: Contender) -> Iterator[list[Contender]]:
        """The contenders, each answering; stopped in the end."""
        running: list[Contender] = []
        try:
            for contender in contenders:
                running.append(contender)
                contender.start()
            yield running
        finally:
            for contender in reversed(running):
                contender.stop()

    def interleaved(self, scenario: Scenario, contenders: list[Contender]) -> list[dict[str, Any]]:
        """Each round measures everybody once, now in this order, now in the other."""
        found = []
        for number in range(self.rounds):
            order = contenders if number % 2 == 0 else contenders[::-1]
            found.append({c.name: measure(scenario, c, self.load, self.cores) for c in order})
            if "direct" in found[-1]:
                add_differences(found[-1])
        return found

    def against_peers(
        self, scenarios: tuple[Scenario, ...], *others: Callable[[Path, Cores, int], Contender]
    ) -> dict[str, list[dict[str, Sample]]]:
        """Every scenario with LLM-Manager, nginx and the others; by name of scenario."""
        ours = LLMManager(self.folder, self.cores, self.stub)
        peers = [kind(self.folder, self.cores, ours.stub_port) for kind in (Nginx, *others)]
        results = {}
        with self.started(ours, *peers) as running:
            for scenario in scenarios:
                tell(f"{scenario.name} ...")
                results[scenario.name] = self.interleaved(scenario, running)
        return results

    def with_many_models(self) -> dict[str, Any]:
        """CPU per request with 10, 100 and 1000 models configured, side by side."""
        tell("10, 100 and 1000 models ...")
        programs = [LLMManager(self.folder, self.cores, self.stub, count) for count in MODELS]
        with self.started(*programs) as running:
            rounds = self.interleaved(requests("many models", 16), running)
        first = programs[0].name
        print("\nCPU per request, against 10 models:")
        found = {}
        for program, count in zip(programs, MODELS, strict=True):
            found[str(count)] = ratios(rounds, "cpu", program.name, first)
            print(f"  {count:5} models  {spread(found[str(count)])}")
        return found

    def starts(self) -> dict[str, list[Sample]]:
        print("\nstart to listening:")
        found = {}
        for models in (3, 1000):
            folder = self.folder / f"starts-{models}"
            samples = alone.start_times(folder, self.cores, self.stub, models, self.rounds * 2)
            found[str(models)] = samples
            for figure, name in (("seconds", "seconds"), ("cpu", "CPU seconds")):
                values = sorted(sample[figure] for sample in samples)
                print(f"  {models:5} models  {name:12} {spread(values)}", flush=True)
        return found

    def idling(self, seconds: float) -> dict[str, Sample]:
        """Everything at rest, with its model loaded."""
        print(f"\nidle, over {seconds:.0f} s:")
        found = {}
        for models in (3, 1000):
            program = LLMManager(self.folder / "idle", self.cores, self.stub, models)
            with self.started(program):
                for open_ in (False, True):
                    sample = alone.idle(program, seconds, dashboard=open_)
                    name = f"{models} models, dashboard {'open' if open_ else 'closed'}"
                    found[name] = sample
                    print(
                        f"  {name:29} {sample['percent']:.2f}% of a core, "
                        f"{sample['memory']:.0f} MB in all, {sample['memory_main']:.0f} MB "
                        "without the device probe and the guardian",
                        flush=True,
                    )
        return found


def show(scenarios: tuple[Scenario, ...], results: dict[str, list[dict[str, Sample]]]) -> None:
    """One table per contender, ours first."""
    for name in next(iter(results.values()))[0]:
        if name not in ("nginx", "direct"):
            lines = [row for s in scenarios for row in rows(s, results[s.name], name)]
            print("\n" + render(lines, name), flush=True)


def spread(values: list[float]) -> str:
    """Median (smallest-largest)."""
    return f"{median(values):.2f} ({values[0]:.2f}-{values[-1]:.2f})"


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="less than a minute; for CI")
    parser.add_argument("--rounds", type=int, default=0, help="how often everything is repeated")
    parser.add_argument("--only", help="only scenarios whose name contains this")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of rest to measure")
    parser.add_argument("--no-rest", action="store_true", help="the load scenarios only")
    parser.add_argument("--save", type=Path, help=f"the JSON file (default: in {BUILT})")
    parser.add_argument("--baseline", action="store_true", help="with --short: keep its ratios")
    for name in OTHERS:
        parser.add_argument(
            f"--{name.replace('_', '-')}", action="store_true", help="measure it too"
        )
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    rounds = asked.rounds or (3 if asked.short else 5)
    others = [kind for name, kind in OTHERS.items() if getattr(asked, name)]
    results: dict[str, Any] = {
        "machine": f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores",
        "python": platform.python_version(),
        "began": time.strftime("%Y-%m-%d %H:%M:%S"),
        "load_before": os.getloadavg(),
    }
    with tempfile.TemporaryDirectory(prefix="llm-manager-bench-") as folder:
        try:
            bench = Bench(Path(folder), Cores.of_this_machine(), *build(), rounds)
            if asked.short:
                return short.run(bench.against_peers(SHORT), keep=asked.baseline)
            chosen = tuple(s for s in ALL if asked.only is None or asked.only in s.name)
            results["scenarios"] = bench.against_peers(chosen, Direct, *others)
            show(chosen, results["scenarios"])
            if not asked.no_rest:
                results["models"] = bench.with_many_models()
                results["starts"] = bench.starts()
                results["idle"] = bench.idling(asked.idle)
        except Missing as missing:
            tell(str(missing))
            return 2
    results["load_after"] = os.getloadavg()
    path = asked.save or BUILT / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(json.dumps(results, indent=1))
    print(
        f"\nload of the machine: {results['load_before'][0]:.1f} before, "
        f"{results['load_after'][0]:.1f} after\nsaved: {path}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
