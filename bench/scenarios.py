"""The loads, and what is read off each of them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Contender
from bench.machine import Cores, cpu_seconds, on_core, peak_memory

KB, MB = 1 << 10, 1 << 20

Sample = dict[str, float]
"""One measurement: figure to value. Times in microseconds, memory in MB."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load and the figures that the table shows of it."""

    name: str
    options: str
    """Of the load generator; see `load.c`."""
    figures: tuple[str, ...]
    seconds: float = 0
    """How long clients ask; 0: the streams have their own end."""


def requests(name: str, clients: int, body: int = 0, seconds: float = 2.0) -> Scenario:
    figures = ("cpu", "p50", "added_p50", "rate") if not body else ("cpu", "rate")
    return Scenario(name, f"-m requests -c {clients} -b {body}", figures, seconds)


def streams(name: str, count: int, per_second: int, chunks: int = 80, ramp: int = 1000) -> Scenario:
    figures = ("cpu", "delay_p50", "delay_p99") + (("memory",) if count >= 1000 else ())
    options = f"-m streams -c {count} -n {chunks} -i {1_000_000 // per_second} -R {ramp}"
    return Scenario(name, options, figures)


ALL = (
    requests("requests, 1 client", 1),
    requests("requests, 16 clients", 16),
    requests("requests, 64 clients", 64),
    requests("requests of 32 KB, 16 clients", 16, 32 * KB),
    requests("requests of 1 MB, 16 clients", 16, MB),
    streams("1 stream, 20 chunks/s", 1, 20),
    streams("64 streams, 20 chunks/s", 64, 20),
    streams("256 streams, 20 chunks/s", 256, 20),
    streams("1000 streams, 20 chunks/s", 1000, 20, 200),
    streams("64 streams, 100 chunks/s", 64, 100, 300),
    Scenario("burst, 16 streams", "-m streams -c 16 -n 2000 -i 0 -r 3", ("cpu", "rate")),
    Scenario("first token", "-m streams -c 1 -n 2 -i 500 -r 500", ("first_p50", "added_first")),
    Scenario(
        "1000 streams start at once",
        "-m streams -c 1000 -n 4 -i 250000",
        ("cpu_each", "first_p50", "first_p99"),
    ),
)

SHORT = (
    requests("requests, 16 clients", 16, seconds=0.8),
    requests("requests of 32 KB, 16 clients", 16, 32 * KB, seconds=0.8),
    streams("256 streams, 40 chunks/s", 256, 40, 60, ramp=300),
    Scenario("burst, 16 streams", "-m streams -c 16 -n 1000 -i 0", ("cpu",)),
)
"""For a machine that others use as well: only CPU times are compared there."""


class LoadFailed(Exception):
    """Requests went wrong, so their times mean nothing."""


def measure(scenario: Scenario, contender: Contender, load: Path, cores: Cores) -> Sample:
    """Run the load once. Raises LoadFailed."""
    command = [str(load), *scenario.options.split(), "-p", str(contender.port)]
    if scenario.seconds:
        command += ["-d", str(scenario.seconds)]
    pids = contender.pids()
    with peak_memory(pids) as peak:
        before = cpu_seconds(pids)
        run = subprocess.run(on_core(cores.load, *command), capture_output=True, text=True)
        cpu = cpu_seconds(pids) - before
    if run.returncode:
        raise LoadFailed(f"{scenario.name}, {contender.name}: {run.stdout}{run.stderr}")
    told = json.loads(run.stdout)
    items = told["chunks"] or told["finished"]
    sample = {
        "cpu": cpu / items * 1e6,
        "cpu_each": cpu / told["finished"] * 1e6,
        "rate": items / told["seconds"],
        "memory": peak[0],
    }
    if told["chunks"]:
        kept = ("delay_p50", "delay_p99", "delay_max", "first_p50", "first_p99", "first_max")
        return sample | {figure: told[figure] for figure in kept}
    return sample | {"p50": told["first_p50"], "p99": told["first_p99"]}


def add_differences(samples: dict[str, Sample]) -> None:
    """What each contender of one round adds to the times of `direct`."""
    direct = samples["direct"]
    for name, sample in samples.items():
        if name != "direct":
            for figure, source in (("added_p50", "p50"), ("added_first", "first_p50")):
                if source in sample:
                    sample[figure] = sample[source] - direct[source]
