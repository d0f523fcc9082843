"""Tables and figures for the templates of the pages of docs/results, computed from the records of runs.

A run is named SET/SYSTEM_SEED. SET/SYSTEM means all its seeds; their figures are formatted as a range.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from statistics import mean, median, stdev
from textwrap import wrap
from typing import Any

from cells import describe_camera, format_metrics, format_range, format_shares, format_table, with_minus_signs
from unpairaug.comparison.gap import GAP_METRIC, format_metric, format_percent, share
from unpairaug.errors import UserError
from unpairaug.registry.suggestions import suggest

METRICS = (GAP_METRIC, "ssim_rgb", f"{GAP_METRIC}_shift10")
Seeds = dict[int, dict[str, float]]
"""The metrics of a system's runs by seed."""


class Figures:
    """The figures of all runs."""

    def __init__(
        self,
        systems: dict[str, dict[str, Any]],
        records: dict[str, dict[str, Any]],
        measured: dict[str, dict[str, Any]],
        changed: dict[str, list[str]],
    ) -> None:
        """Index the figures by system and seed.

        Args:
            systems: label and overrides of each system by name, in the order of rows.
            records: record of each run by SET/SYSTEM_SEED.
            measured: text and figures (by SET/SYSTEM_SEED) of each program by name.
            changed: differences between a run's recipe and today's recipe of its command, by run.
        """
        self._rows, self._records, self._programs, self._changed_recipes = systems, records, measured, changed
        self._metrics = {name: one["metrics"] for name, one in records.items()}
        self._metrics |= {name: values for one in measured.values() for name, values in one["figures"].items()}
        self._by_seed: dict[str, Seeds] = {}
        """By SET/SYSTEM."""
        for name, values in self._metrics.items():
            system, _, seed = name.rpartition("_")
            self._by_seed.setdefault(system, {})[int(seed)] = values

    def functions(self) -> dict[str, Callable[..., str]]:
        """The functions of the template by name: the public methods below."""
        return {name: getattr(self, name) for name in vars(Figures) if name[0] != "_" and name != "functions"}

    # Tables

    def system_table(self, set_: str) -> str:
        """Every system of a set: metrics of its first seed, share of the gap and PSNR of all seeds."""
        scale = self._any_record(set_)["resolved"]["task"].get("scale", 1)
        label = "bicubic interpolation" if scale > 1 else "input, not processed"
        rows = [[label, *format_metrics(self._bicubic(set_), METRICS), "", ""]]
        for system in self._rows:
            if seeds := self._by_seed.get(name := f"{set_}/{system}"):
                by_seed = [format_metric(GAP_METRIC, one[GAP_METRIC]) for one in seeds.values()]
                shares = self._shares_of(name) if self._is_comparable(name) else []
                cells = format_metrics(seeds[min(seeds)], METRICS)
                listed = ", ".join(by_seed) if len(by_seed) > 1 else ""
                rows.append([self._rows[system]["label"], *cells, format_shares(shares), listed])
        return format_table(["", *METRICS, "share of the gap", f"{GAP_METRIC} by seed"], rows)

    def gap_table(self, system: str, *sets: str) -> str:
        """Floor, system and ceiling on each set: means over their common seeds. Names of sets may contain * and ?."""
        rows = []
        for set_ in self._matching_sets(system, sets):
            arms = [self._by_seed[f"{set_}/{arm}"] for arm in ("floor", system, "ceiling")]
            common = [seed for seed in arms[1] if seed in arms[0] and seed in arms[2]]
            means = [format_metric(GAP_METRIC, mean(arm[seed][GAP_METRIC] for seed in common)) for arm in arms]
            plain = format_metric(GAP_METRIC, self._bicubic(set_)[GAP_METRIC])
            shares = format_shares(self._shares_of(f"{set_}/{system}"))
            rows.append([f"`{set_}`{describe_camera(set_)}", plain, *means, shares])
        columns = ["", "bicubic", "floor", f"`{system}`", self._rows["ceiling"]["label"], "share of the gap, by seed"]
        return format_table(columns, rows)

    def summary_table(self, system: str, **sets: str) -> str:
        """Each set in one row: its label, means over the seeds of each arm, and the duration of a run of `system`."""
        rows = []
        for set_, label in sets.items():
            arms = [self.mean_with_spread(f"{set_}/{arm}") for arm in ("floor", "measured", system, "ceiling")]
            name = f"{set_}/{system}"
            plain = format_metric(GAP_METRIC, self._bicubic(set_)[GAP_METRIC])
            arms[2] = f"**{arms[2]}**"
            rows.append(
                [label, plain, *arms, format_shares(self._shares_of(name)), self.seeds(name), self.minutes(name)]
            )
        columns = [
            "",
            "input",
            "floor",
            "measured camera alone",
            f"`{system}`",
            "ceiling",
            "share of the gap",
            "seeds",
            "minutes",
        ]
        return format_table(columns, rows)

    def change_table(self, set_: str, *systems: str) -> str:
        """Variants of one system: means over seeds, and the gain over the first on common seeds."""
        rows, base = [], self._seeds_of(f"{set_}/{systems[0]}")
        for system in systems:
            seeds = self._seeds_of(f"{set_}/{system}")
            if not (common := seeds.keys() & base.keys()):
                raise UserError(f"the page compares {system} with {systems[0]} on {set_}, but they share no seed")
            above = mean(seeds[seed][GAP_METRIC] - base[seed][GAP_METRIC] for seed in common)
            means = [format_metric(metric, mean(one[metric] for one in seeds.values())) for metric in METRICS[:2]]
            more = "" if system == systems[0] else with_minus_signs(f"{above:+.2f}")
            shares = format_shares(self._shares_of(f"{set_}/{system}"))
            rows.append([self._rows[system]["label"], str(len(seeds)), *means, more, shares])
        columns = ["", "seeds", *METRICS[:2], "gain over the first row, same seeds", "share of the gap, by seed"]
        return format_table(columns, rows)

    def selection_table(self) -> str:
        """By system, how far the step selected without pairs is below the best validated step."""
        by_system: dict[str, list[tuple[int, float, float]]] = {}
        for name, one in self._records.items():
            if one["selection"]:
                by_system.setdefault(name.partition("/")[2].rpartition("_")[0], []).append(_selection_loss(one))
        rows = [
            [self._rows[name]["label"], *_selection_row(by_system[name])] for name in self._rows if name in by_system
        ]
        rows.append(["all", *_selection_row([one for ones in by_system.values() for one in ones])])
        columns = ["", "runs", "selected steps", "dB below the best: mean", "largest", "last step: mean", "largest"]
        return format_table(columns, rows)

    def variant_table(self) -> str:
        """The systems that are recipes with overrides."""
        rows = [
            [options["label"], f"`{options['recipe']}`", " ".join(f"`{one}`" for one in options["overrides"])]
            for options in self._rows.values()
            if "overrides" in options
        ]
        return format_table(["", "recipe", "overrides"], rows)

    # Words

    def command(self, name: str) -> str:
        """The command that trains a run again in the folder of its images."""
        one = self._known(name, self._records)
        words = ["python", "-m", "unpairaug.run", one["recipe"], *one["overrides"], f"output_dir=runs/{name}"]
        text = " ".join(shlex.quote(word).replace(" ", "\0") for word in words)  # no line ends inside of a word
        lines = wrap(text, 150, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        return " \\\n".join(lines).replace("\0", " ")

    def program(self, name: str) -> str:
        return self._programs[name]["program"].strip()

    def recipe_changes(self) -> str:
        """Say whether the commands still give the recipes of their runs."""
        if not self._changed_recipes:
            return "Today every command still gives the recipe of its run, key by key."
        told = "".join(f"\n- {name}: {'; '.join(keys)}" for name, keys in self._changed_recipes.items())
        return f"Recipes have changed since some of the runs:\n{told}"

    def psnr(self, name: str) -> str:
        return self._range(name, lambda one: one[GAP_METRIC], ".2f")

    def ssim(self, name: str) -> str:
        return self._range(name, lambda one: one["ssim_rgb"], ".4f")

    def drift(self, name: str) -> str:
        """Colour drift at the last step, as measured by the guard, in 8-bit steps."""
        return f"{self._known(name, self._records)['guards']['colour_drift']:.0f}"

    def share_range(self, name: str) -> str:
        """Share of the gap: of one seed, or the range over seeds."""
        return format_range([100 * one for one in self._known_shares(name)], ".0f") + " %"

    def median_share(self, system: str, *sets: str) -> str:
        """Median and range over sets of the mean share over seeds."""
        shares = [mean(self._known_shares(f"{set_}/{system}")) for set_ in self._matching_sets(system, sets)]
        return with_minus_signs(
            f"{format_percent(median(shares))} (from {format_percent(min(shares))} to {format_percent(max(shares))})"
        )

    def difference(self, name: str, other: str, metric: str = GAP_METRIC) -> str:
        """A metric of a run minus that of another run."""
        more = self._known(name, self._metrics)[metric] - self._known(other, self._metrics)[metric]
        return with_minus_signs(format_metric(metric, more))

    def mean_with_spread(self, name: str) -> str:
        """Mean over the seeds, with their standard deviation if there are several; empty if no run has the name."""
        values = [one[GAP_METRIC] for one in self._by_seed.get(name, {}).values()]
        if not values:
            return ""
        spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
        return f"{format_metric(GAP_METRIC, mean(values))}{spread}"

    def seeds(self, name: str) -> str:
        """Number of seeds of a system."""
        return str(len(self._seeds_of(name)))

    def minutes(self, name: str = "") -> str:
        """Duration in minutes of the runs of a system; without a name, of all runs."""
        runs = [one for run, one in self._records.items() if run.rpartition("_")[0] == name or not name]
        return format_range([one["seconds"] / 60 for one in runs], ".0f")

    # Reading

    def _known(self, name: str, known: dict[str, Any]) -> Any:
        if name not in known:
            raise UserError(f"the page names {name!r}, of which there is no record; {suggest(name, known)}")
        return known[name]

    def _seeds_of(self, name: str) -> Seeds:
        """Metrics by seed, of one run or of all seeds of a system."""
        if name in self._metrics:
            return {int(name.rpartition("_")[2]): self._metrics[name]}
        return self._known(name, {**self._metrics, **self._by_seed})

    def _shares_of(self, name: str) -> list[float | None]:
        """Share of the gap for each seed that floor and ceiling also have; None if there is no gap."""
        floor, ceiling = (self._by_seed.get(f"{_set_of(name)}/{arm}", {}) for arm in ("floor", "ceiling"))
        common = {seed: one for seed, one in self._seeds_of(name).items() if seed in floor and seed in ceiling}
        return [
            share(floor[seed][GAP_METRIC], one[GAP_METRIC], ceiling[seed][GAP_METRIC]) for seed, one in common.items()
        ]

    def _known_shares(self, name: str) -> list[float]:
        """Shares of the gap of all seeds.

        Raises:
            UserError: a seed has no gap.
        """
        shares = self._shares_of(name)
        known = [one for one in shares if one is not None]
        if not known or len(known) < len(shares):
            raise UserError(f"the page names the share of {name}, but on some seed or all there is no gap to close")
        return known

    def _matching_sets(self, system: str, patterns: Sequence[str]) -> list[str]:
        """Sets that match a pattern and have floor, system and ceiling, in the order of runs.yaml."""
        held = dict.fromkeys(map(_set_of, self._records))
        has = [set_ for set_ in held if f"{set_}/{system}" in self._by_seed and self._shares_of(f"{set_}/{system}")]
        if lacking := [pattern for pattern in patterns if not any(fnmatch(set_, pattern) for set_ in has)]:
            raise UserError(f"the page names {' '.join(lacking)}: no set has floor, ceiling and {system!r} on one seed")
        return [set_ for set_ in has if any(fnmatch(set_, pattern) for pattern in patterns)]

    def _bicubic(self, set_: str) -> dict[str, float]:
        return self._any_record(set_)["bicubic"]

    def _any_record(self, set_: str) -> dict[str, Any]:
        """A record of the set, if possible the floor's: the images are those of all records."""
        floor = f"{set_}/floor_0"  # a record, or what a program measured of another set's
        others = [one for name, one in self._records.items() if _set_of(name) == set_]
        return self._known(floor, {**({floor: others[0]} if others else {}), **self._records})

    def _is_comparable(self, name: str) -> bool:
        """Whether a share is meaningful: the system has the head of floor and ceiling, and is neither of them."""
        floor = self._any_record(_set_of(name))
        run = f"{name}_{min(self._by_seed[name])}"
        one = self._records.get(run) or floor  # what a program measured has the floor's head
        of_the_gap = name in (f"{_set_of(name)}/{arm}" for arm in ("floor", "ceiling"))
        return not of_the_gap and one["resolved"]["task"]["head"] == floor["resolved"]["task"]["head"]

    def _range(self, name: str, figure: Callable[[dict[str, float]], float], form: str) -> str:
        return format_range([figure(one) for one in self._seeds_of(name).values()], form)


def _set_of(name: str) -> str:
    return name.partition("/")[0]


def _selection_loss(one: dict[str, Any]) -> tuple[int, float, float]:
    """The selected step of a run, and by how many dB it and the last step are below the best validated one."""
    scores = {int(step): score for step, score in one["selection"].items()}
    psnr = {step: one[GAP_METRIC][str(step)] for step in scores}
    chosen, best = min(scores, key=scores.__getitem__), max(psnr.values())
    return chosen, best - psnr[chosen], best - psnr[max(psnr)]


def _selection_row(ones: list[tuple[int, float, float]]) -> list[str]:
    chosen, lost, last = zip(*ones, strict=True)
    steps = ", ".join(map(str, sorted(set(chosen))))
    return [str(len(ones)), steps, *(f"{value:.2f}" for value in (mean(lost), max(lost), mean(last), max(last)))]
