"""One call of `restore`: what is left to restore, and the work, by one process or several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from unpairaug.batch.executor import IN_PROCESS, Executor
from unpairaug.restoring.files import MakeRestorer, collect_results
from unpairaug.restoring.restart import CompleteFiles, digest_of_model


class RestoreRun:
    """Restores the images that earlier calls with the same settings have not completed."""

    def __init__(
        self,
        make: MakeRestorer,
        outputs: Mapping[Path | str, Path],
        folder: Path,
        executor: Executor = IN_PROCESS,
        unlistable: Sequence[str] = (),
    ) -> None:
        """Load the model, and find what is left.

        Args:
            make: model and settings.
            outputs: the path of the result for each path or URL of an image.
            folder: the output folder; it exists.
            executor: who restores.
            unlistable: messages about folders that could not be listed; they are part of the message at the end.

        Raises:
            UserError: the model cannot be loaded, or the output's URL cannot be read.
        """
        self.make, self.executor, self.worker, self.unlistable = make, executor, make(None), unlistable
        if make.remote:
            make.remote.pull_complete()
        model = digest_of_model(self.worker.task)
        settings = {"model": model, "tile": make.tile, "self_ensemble": make.ensemble}
        if make.mixed_precision != "no":
            settings["mixed_precision"] = make.mixed_precision
        self._complete = CompleteFiles(folder, settings) if len(outputs) > 1 else None
        self.remaining = self._complete.find_remaining(outputs) if self._complete else dict(outputs)

    def restore_remaining(self) -> Iterator[Path]:
        """Yield the path of each result when it is written; see `collect_results` for what is raised at the end."""
        parts = self.remaining.items()
        alone = self.executor == IN_PROCESS
        results = map(self.worker, parts) if alone else self.executor.map(self.make, parts)
        yield from collect_results(results, len(self.remaining), self._complete, self.unlistable)
        if self._complete:
            self._complete.finish()
        if self.make.remote:
            self.make.remote.discard()
