"""Trained parts with the interface of huggingface_hub's mixin: saved, loaded, pushed."""

from __future__ import annotations

from abc import abstractmethod
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from huggingface_hub import ModelCard, ModelHubMixin
from torch import Tensor, nn

from unpairaug import __version__
from unpairaug.errors import UserError, escape
from unpairaug.registry import Spec
from unpairaug.registry.plugins import format_error
from unpairaug.registry.trust import names_from
from unpairaug.sharing.model_card import card_data, card_text
from unpairaug.sharing.pretrained import Part, Pretrained, load_part, save_part
from unpairaug.sharing.size_limit import limit_networks

P = TypeVar("P", bound="HubPart")


class HubPart(ModelHubMixin, library_name="unpairaug"):
    """A task or a translator in a folder or on the hub: `config.json`, `model.safetensors`, `README.md`.

    Two methods of the mixin are replaced. Its `save_pretrained` removes the old `config.json` before the new weights
    are written, but a run's folders are read while it trains. Its `from_pretrained` calls the constructor of the class,
    but here the configuration names the class, and a run folder keeps its parts in folders below it.
    """

    part: ClassVar[Part]
    config: Spec
    trained: Spec
    """Facts that the training run recorded: steps, seed, data, metrics; see `RunFolder`. Empty without a run."""

    @abstractmethod
    def saved(self) -> tuple[Spec, dict[str, Tensor]]:
        """The configuration and the weights that are saved in a folder."""

    @classmethod
    @abstractmethod
    def loaded(cls, contents: Pretrained) -> HubPart:
        """The part with the contents of a folder."""

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
            license: licence on the card; an SPDX identifier in lower case, as the hub uses them. None: not stated.
            config: passed by the mixin; ignored, since the part has its own.
            model_card_kwargs: passed to `generate_model_card`.

        Raises:
            UserError: the part was not built by its name, so its configuration is unknown.
        """
        card = self.generate_model_card(**{"license": license, **(model_card_kwargs or {})})
        spec, weights = self._contents()
        save_part(Path(save_directory), self.part, Pretrained(spec, weights, self.trained), str(card))

    @classmethod
    def from_pretrained(  # type: ignore[override]  # no options of the constructor: those are in config.json
        cls: type[P], pretrained_model_name_or_path: str | PathLike[str], *, trust_code: bool = False, **download: Any
    ) -> P:
        """The trained part, in evaluation mode, from a run folder, the part's own folder, or a hub id.

        A hub id is `user/name`, or `user/name@revision` for a branch, tag or commit.

        Args:
            trust_code: import the code that the folder names as `module:Class`. That runs it, so give it only where
                you trust whoever made the folder. Built-in, registered and plug-in classes need no trust.
            download: for a hub id, what `huggingface_hub.snapshot_download` takes: `revision`, `token`, `cache_dir`,
                `local_files_only` and others.

        Raises:
            UserError: there is no such folder or hub repository, it holds something else, it names code without trust,
                or its weights are of another version of the part.
        """
        name = escape(pretrained_model_name_or_path)
        contents = load_part(pretrained_model_name_or_path, cls.part, **download)
        try:
            with names_from(name, trust_code), limit_networks(contents.weights.values()):
                part: Any = cls.loaded(contents)
        except UserError as error:
            message = str(error) if str(error).startswith(name) else f"{name}: {error}"
            raise UserError(message + _describe_version(contents)) from error
        except RuntimeError as error:
            raise UserError(
                f"{name}: its weights do not fit the {cls.part} that unpairaug {__version__} builds: {error}"
                f"{_describe_version(contents)}"
            ) from error
        except Exception as error:  # options of the right types can still be impossible, in many ways
            raise UserError(f"{name}: its {cls.part} cannot be built: {escape(format_error(error))}") from error
        part.trained = contents.trained
        assert isinstance(part, nn.Module)
        return part.eval()  # type: ignore[return-value]

    def push_to_hub(self, repo_id: str, *, license: str | None = None, **options: Any) -> str:  # type: ignore[override]
        """Publish the part on the hub, all files in one commit; the repository is created if it is missing.

        Args:
            license: as in `save_pretrained`.
            options: as the mixin takes them: `private`, `token`, `commit_message`, `branch`, `create_pr` and others.

        Returns:
            The address of the commit.

        Raises:
            HfHubHTTPError: the hub refuses; the message has the reason.
        """
        card = {"license": license, "repo_id": repo_id, **(options.pop("model_card_kwargs", None) or {})}
        return super().push_to_hub(repo_id, model_card_kwargs=card, **options)

    def generate_model_card(self, *, license: str | None = None, repo_id: str | None = None) -> ModelCard:
        """The model card: purpose, use, training, validation, licence."""
        spec, _ = self._contents()
        data = card_data(self.part, spec, self.trained, license)
        return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{card_text(self.part, spec, self.trained, license, repo_id)}")

    def _contents(self) -> tuple[Spec, dict[str, Tensor]]:
        if not hasattr(self, "config"):
            build = {"task": "unpairaug.registry.tasks.build", "translator": "unpairaug.translator.build_translator"}
            raise UserError(
                f"this {type(self).__name__} was not built by a name, so a folder cannot say how to build it again; "
                f"register a class with `@register_{self.part}(...)`, and build it with `{build[self.part]}(...)`"
            )
        return self.saved()


def _describe_version(contents: Pretrained) -> str:
    """What to do about a part that another version saved; nothing for one of this version."""
    if contents.version == __version__:
        return ""
    return (
        f"; unpairaug {escape(contents.version)} saved it, and this is {__version__}, whose options may differ: "
        f"load it with that version, or train it again"
    )
