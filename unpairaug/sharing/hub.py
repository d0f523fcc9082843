"""Trained parts as huggingface_hub's mixin has them: saved, loaded, pushed."""

from __future__ import annotations

from abc import abstractmethod
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from huggingface_hub import ModelCard, ModelHubMixin
from torch import Tensor, nn

from unpairaug import __version__
from unpairaug.errors import UserError
from unpairaug.registry import Spec
from unpairaug.sharing.model_card import card_data, card_text
from unpairaug.sharing.pretrained import Part, Pretrained, load_part, save_part

P = TypeVar("P", bound="HubPart")


class HubPart(ModelHubMixin, library_name="unpairaug"):
    """A task or a translator in a folder or on the hub: `config.json`, `model.safetensors`, `README.md`.

    Two methods of the mixin are replaced. Its `save_pretrained` removes the old `config.json` before the new weights
    are there, while a run's folders are read as it goes on. Its `from_pretrained` reads the class's own constructor,
    while here the configuration decides the class, and a run folder keeps its parts in folders below it.
    """

    part: ClassVar[Part]
    config: Spec
    trained: Spec
    """What the run that trained it noted: steps, seed, data, metrics; see `RunFolder`. Empty where nobody did."""

    @abstractmethod
    def saved(self) -> tuple[Spec, dict[str, Tensor]]:
        """The configuration and the weights that a folder keeps."""

    @classmethod
    @abstractmethod
    def loaded(cls, contents: Pretrained) -> HubPart:
        """The part that a folder's contents describe."""

    def save_pretrained(  # type: ignore[override]  # the mixin's `push_to_hub` option is `push_to_hub` itself
        self,
        save_directory: str | PathLike[str],
        *,
        license: str | None = None,
        config: None = None,
        model_card_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Write `config.json`, `model.safetensors` and the model card into the folder, over older ones.

        Args:
            license: what the card says; an SPDX identifier in lower case, as the hub knows them. It says that none
                was stated where it is None.
            config: the mixin passes it; the part's own counts.
            model_card_kwargs: passed to `generate_model_card`.
        """
        card = self.generate_model_card(**{"license": license, **(model_card_kwargs or {})})
        spec, weights = self.saved()
        save_part(Path(save_directory), self.part, Pretrained(spec, weights, self.trained), str(card))

    @classmethod
    def from_pretrained(  # type: ignore[override]  # no options of the constructor: those are in config.json
        cls: type[P], pretrained_model_name_or_path: str | PathLike[str], **download: Any
    ) -> P:
        """The trained part, in evaluation mode, from a run folder, the part's own folder, or a hub id `user/name`.

        Args:
            download: for a hub id, what `huggingface_hub.snapshot_download` takes: `revision`, `token`, `cache_dir`,
                `local_files_only` and others.

        Raises:
            UserError: there is no such folder or hub repository, it holds something else, or its weights are of
                another version of the part.
        """
        contents = load_part(pretrained_model_name_or_path, cls.part, **download)
        try:
            part: Any = cls.loaded(contents)
        except RuntimeError as error:
            raise UserError(
                f"{pretrained_model_name_or_path}: its weights do not fit the {cls.part} that unpairaug {__version__} "
                f"builds; load them with the version that config.json names: {error}"
            ) from error
        part.trained = contents.trained
        assert isinstance(part, nn.Module)
        return part.eval()  # type: ignore[return-value]

    def push_to_hub(self, repo_id: str, *, license: str | None = None, **options: Any) -> str:  # type: ignore[override]
        """Publish the part on the hub, all files in one commit; the repository is made if it is missing.

        Args:
            license: as in `save_pretrained`.
            options: as the mixin takes them: `private`, `token`, `commit_message`, `branch`, `create_pr` and others.

        Returns:
            The address of the commit.

        Raises:
            HfHubHTTPError: the hub refuses; the message says why.
        """
        card = {"license": license, "repo_id": repo_id, **(options.pop("model_card_kwargs", None) or {})}
        return super().push_to_hub(repo_id, model_card_kwargs=card, **options)

    def generate_model_card(self, *, license: str | None = None, repo_id: str | None = None) -> ModelCard:
        """The card: what it is, how to use it, from what it was trained, how well it did, under which licence."""
        spec, _ = self.saved()
        data = card_data(self.part, spec, self.trained, license)
        return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{card_text(self.part, spec, self.trained, license, repo_id)}")
