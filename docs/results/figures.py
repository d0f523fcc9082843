"""What the template of docs/results.md may call: tables and figures, each read from the records of runs.

A run is named SET/SYSTEM_SEED; SET/SYSTEM stands for all its seeds, whose figures are given from the least to the most.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from statistics import mean, median
from textwrap import wrap
from typing import Any

from unpairaug.comparison.gap import SHARED, cell, percent, share
from unpairaug.data.drawn_camera import DRAWN, draw_camera
from unpairaug.errors import UserError
from unpairaug.registry.suggestions import suggest

METRICS = (SHARED, "ssim_rgb", f"{SHARED}_shift10")
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
        """Nothing is read here but what is given.

        Args:
            systems: by name, the label of its row and its overrides, in the order of rows.
            records: by SET/SYSTEM_SEED, what a run measured.
            measured: by name of a program, its text and its figures by SET/SYSTEM_SEED.
            changed: by run, where its command would give another recipe today.
        """
        self._rows, self._records, self._programs, self._since = systems, records, measured, changed
        self._metrics = {name: one["metrics"] for name, one in records.items()}
        self._metrics |= {name: values for one in measured.values() for name, values in one["figures"].items()}
        self._by_seed: dict[str, Seeds] = {}
        """By SET/SYSTEM."""
        for name, values in self._metrics.items():
            system, _, seed = name.rpartition("_")
            self._by_seed.setdefault(system, {})[int(seed)] = values

    def functions(self) -> dict[str, Callable[..., str]]:
        """What the template may call, by name: what follows here and is public."""
        return {name: getattr(self, name) for name in vars(Figures) if name[0] != "_" and name != "functions"}

    # Tables

    def systems(self, set_: str) -> str:
        """Every system of a set: its first seed, and the share of the gap and PSNR of each."""
        scale = self._one_of(set_)["resolved"]["task"].get("scale", 1)
        unlearnt = "bicubic enlargement" if scale > 1 else "no processing"
        rows = [[unlearnt, *_cells(self._bicubic(set_), METRICS), "", ""]]
        for system in self._rows:
            if seeds := self._by_seed.get(name := f"{set_}/{system}"):
                by_seed = ", ".join(cell(SHARED, one[SHARED]) for one in seeds.values()) if len(seeds) > 1 else ""
                shares = self._shares(name) if self._has_the_floors_head(name) else []
                cells = _cells(seeds[min(seeds)], METRICS)
                rows.append([self._rows[system]["label"], *cells, _listed(shares), by_seed])
        return _table(["", *METRICS, "share of the gap", f"{SHARED} by seed"], rows)

    def gaps(self, system: str, *sets: str) -> str:
        """Floor, system and ceiling on each set, as means over the seeds that all three have; sets with * and ?."""
        rows = []
        for set_ in self._sets(system, sets):
            arms = [self._by_seed[f"{set_}/{arm}"] for arm in ("floor", system, "ceiling")]
            common = [seed for seed in arms[1] if seed in arms[0] and seed in arms[2]]
            means = [cell(SHARED, mean(arm[seed][SHARED] for seed in common)) for arm in arms]
            plain = cell(SHARED, self._bicubic(set_)[SHARED])
            rows.append([f"`{set_}`{seen_by(set_)}", plain, *means, _listed(self._shares(f"{set_}/{system}"))])
        columns = ["", "bicubic", "floor", f"`{system}`", self._rows["ceiling"]["label"], "share of the gap, by seed"]
        return _table(columns, rows)

    def changes(self, set_: str, *systems: str) -> str:
        """Systems that differ in one thing: means over seeds, and the gain over the first on the seeds of both."""
        rows, base = [], self._named(f"{set_}/{systems[0]}")
        for system in systems:
            seeds = self._named(f"{set_}/{system}")
            if not (common := seeds.keys() & base.keys()):
                raise UserError(f"the page compares {system} with {systems[0]} on {set_}, but they share no seed")
            above = mean(seeds[seed][SHARED] - base[seed][SHARED] for seed in common)
            means = [cell(metric, mean(one[metric] for one in seeds.values())) for metric in METRICS[:2]]
            more = "" if system == systems[0] else _signed(f"{above:+.2f}")
            shares = _listed(self._shares(f"{set_}/{system}"))
            rows.append([self._rows[system]["label"], str(len(seeds)), *means, more, shares])
        return _table(["", "seeds", *METRICS[:2], "above the first, same seeds", "share of the gap, by seed"], rows)

    def regret(self) -> str:
        """By system, what the step chosen without pairs has below the best of those that were validated."""
        by_system: dict[str, list[tuple[int, float, float]]] = {}
        for name, one in self._records.items():
            if one["choice"]:
                by_system.setdefault(name.partition("/")[2].rpartition("_")[0], []).append(_regret(one))
        rows = [[self._rows[name]["label"], *_regrets(by_system[name])] for name in self._rows if name in by_system]
        rows.append(["all", *_regrets([one for ones in by_system.values() for one in ones])])
        columns = ["", "runs", "steps chosen", "below the best: mean", "most", "the last step below it: mean", "most"]
        return _table(columns, rows)

    def variants(self) -> str:
        """The systems that are not a recipe as it ships."""
        rows = [
            [options["label"], f"`{options['recipe']}`", " ".join(f"`{one}`" for one in options["overrides"])]
            for options in self._rows.values()
            if "overrides" in options
        ]
        return _table(["", "recipe", "overrides"], rows)

    # Words

    def command(self, name: str) -> str:
        """What trains a run again, from the folder that holds its images."""
        one = self._known(name, self._records)
        words = ["python", "-m", "unpairaug.run", one["recipe"], *one["overrides"], f"output_dir=runs/{name}"]
        text = " ".join(shlex.quote(word).replace(" ", "\0") for word in words)  # no line ends inside of a word
        lines = wrap(text, 150, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        return " \\\n".join(lines).replace("\0", " ")

    def program(self, name: str) -> str:
        return self._programs[name]["program"].strip()

    def changed(self) -> str:
        """Whether the commands are still those that were run."""
        if not self._since:
            return "Today every command gives the recipe that its run had, key by key."
        told = "".join(f"\n- {name}: {'; '.join(keys)}" for name, keys in self._since.items())
        return f"Recipes have changed since some of the runs:\n{told}"

    def psnr(self, name: str) -> str:
        return self._range(name, lambda one: one[SHARED], ".2f")

    def ssim(self, name: str) -> str:
        return self._range(name, lambda one: one["ssim_rgb"], ".4f")

    def drift(self, name: str) -> str:
        """The colour drift that the guard measured at the last step, in 8-bit steps."""
        return f"{self._known(name, self._records)['guards']['colour_drift']:.0f}"

    def closed(self, name: str) -> str:
        """The share of the gap: of one seed, or from the least to the most."""
        return _from_to([100 * one for one in self._closed(name)], ".0f") + " %"

    def of_means(self, name: str) -> str:
        """The share that the mean over seeds closes of the gap between the means."""
        arms = [self._named(f"{_set(name)}/floor"), self._named(name), self._named(f"{_set(name)}/ceiling")]
        found = share(*(mean(one[SHARED] for one in arm.values()) for arm in arms))
        return _signed(percent(found))

    def median_closed(self, system: str, *sets: str) -> str:
        """The median over sets of the share, itself a mean over seeds, and the least and the most."""
        shares = [mean(self._closed(f"{set_}/{system}")) for set_ in self._sets(system, sets)]
        return _signed(f"{percent(median(shares))} (from {percent(min(shares))} to {percent(max(shares))})")

    def above(self, name: str, other: str, metric: str = SHARED) -> str:
        """What the one run has above the other."""
        more = self._known(name, self._metrics)[metric] - self._known(other, self._metrics)[metric]
        return _signed(cell(metric, more))

    def minutes(self) -> str:
        """How long the runs took."""
        return _from_to([one["seconds"] / 60 for one in self._records.values()], ".0f")

    # Reading

    def _known(self, name: str, known: dict[str, Any]) -> Any:
        if name not in known:
            raise UserError(f"the page names {name!r}, of which there is no record; {suggest(name, known)}")
        return known[name]

    def _named(self, name: str) -> Seeds:
        """The metrics of one run, or of all seeds of a system."""
        if name in self._metrics:
            return {int(name.rpartition("_")[2]): self._metrics[name]}
        return self._known(name, {**self._metrics, **self._by_seed})

    def _shares(self, name: str) -> list[float | None]:
        """Of each seed of what is named that floor and ceiling of its set have, too."""
        floor, ceiling = (self._by_seed.get(f"{_set(name)}/{arm}", {}) for arm in ("floor", "ceiling"))
        common = {seed: one for seed, one in self._named(name).items() if seed in floor and seed in ceiling}
        return [share(floor[seed][SHARED], one[SHARED], ceiling[seed][SHARED]) for seed, one in common.items()]

    def _closed(self, name: str) -> list[float]:
        """The shares, every one of which is known."""
        shares = self._shares(name)
        known = [one for one in shares if one is not None]
        if not known or len(known) < len(shares):
            raise UserError(f"the page names the share of {name}, but on some seed or all there is no gap to close")
        return known

    def _sets(self, system: str, patterns: Sequence[str]) -> list[str]:
        """The sets that have a share of the system, and whose names fit a pattern; in the order of runs.yaml."""
        held = dict.fromkeys(map(_set, self._records))
        has = [set_ for set_ in held if f"{set_}/{system}" in self._by_seed and self._shares(f"{set_}/{system}")]
        if lacking := [pattern for pattern in patterns if not any(fnmatch(set_, pattern) for set_ in has)]:
            raise UserError(f"the page names {' '.join(lacking)}: no set has floor, ceiling and {system!r} on one seed")
        return [set_ for set_ in has if any(fnmatch(set_, pattern) for pattern in patterns)]

    def _bicubic(self, set_: str) -> dict[str, float]:
        return self._one_of(set_)["bicubic"]

    def _one_of(self, set_: str) -> dict[str, Any]:
        """A record of the set, whose images and floor's head are those of all."""
        floor = f"{set_}/floor_0"  # a record, or what a program measured of another set's
        others = [one for name, one in self._records.items() if _set(name) == set_]
        return self._known(floor, {**({floor: others[0]} if others else {}), **self._records})

    def _has_the_floors_head(self, name: str) -> bool:
        """Whether a share says something of a system: the same head, and neither floor nor ceiling itself."""
        floor = self._one_of(_set(name))
        run = f"{name}_{min(self._by_seed[name])}"
        one = self._records.get(run) or floor  # what a program measured has the floor's head
        of_the_gap = name in (f"{_set(name)}/{arm}" for arm in ("floor", "ceiling"))
        return not of_the_gap and one["resolved"]["task"]["head"] == floor["resolved"]["task"]["head"]

    def _range(self, name: str, figure: Callable[[dict[str, float]], float], form: str) -> str:
        return _from_to([figure(one) for one in self._named(name).values()], form)


def seen_by(set_: str) -> str:
    """What the camera of a set does, where it was drawn at random."""
    if not (drawn := DRAWN.search(set_)):
        return ""
    camera = draw_camera(int(drawn[1]))
    parts = []
    if camera.blur:
        long, short = camera.blur
        parts.append(f"blur {long:.1f} × {short:.1f} px at {camera.angle:.0f}°")
    if camera.noise:
        black, middle = camera.noise
        parts.append(f"noise {black:.0f} to {middle:.0f} steps{', with grain' if camera.grain else ''}")
    if camera.quality:
        parts.append(f"JPEG {camera.quality}")
    return f": {'; '.join(parts)}"


def _set(name: str) -> str:
    return name.partition("/")[0]


def _regret(one: dict[str, Any]) -> tuple[int, float, float]:
    """The chosen step of a run, and what it and the last lack of the best validated one, in dB."""
    scores = {int(step): score for step, score in one["choice"].items()}
    psnr = {step: one[SHARED][str(step)] for step in scores}
    chosen, best = min(scores, key=scores.__getitem__), max(psnr.values())
    return chosen, best - psnr[chosen], best - psnr[max(psnr)]


def _regrets(ones: list[tuple[int, float, float]]) -> list[str]:
    chosen, lost, last = zip(*ones, strict=True)
    steps = ", ".join(map(str, sorted(set(chosen))))
    return [str(len(ones)), steps, *(f"{value:.2f}" for value in (mean(lost), max(lost), mean(last), max(last)))]


def _cells(metrics: dict[str, float], names: Iterable[str]) -> list[str]:
    return [cell(name, metrics[name]) for name in names]


def _listed(shares: Sequence[float | None]) -> str:
    return _signed(", ".join(map(percent, shares)))


def _from_to(values: Sequence[float], form: str) -> str:
    least, most = (_signed(format(value, form)) for value in (min(values), max(values)))
    return least if least == most else f"{least} to {most}"


def _signed(text: str) -> str:
    return text.replace("-", "−")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)
