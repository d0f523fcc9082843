"""Repositories of the hub: `user/name`, or `user/name@revision` for a branch, tag or commit."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from unpairaug.errors import UserError, escape

log = logging.getLogger("unpairaug")
HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}(@[\w./-]{1,255})?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")


def download(hub_id: str, part: str, options: dict[str, Any]) -> Path:
    """The folder in the hub's cache with the repository's JSON and safetensors files; other files are not downloaded.

    The commit is logged where the id does not name one, so that the same files can be asked for again.

    Args:
        part: what else could have been given, for messages.
        options: as `huggingface_hub.snapshot_download` takes them.

    Raises:
        UserError: the text is no hub id, or the hub has no such repository or revision.
    """
    if not HUB_ID.fullmatch(hub_id):
        raise UserError(f"no folder {hub_id!r} here, and it is no hub id; give a run folder, {part}, or 'user/name'")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = hub_id.partition("@")
    if revision and options.setdefault("revision", revision) != revision:
        raise UserError(f"{hub_id!r} names a revision, and revision={options['revision']!r} another; give one")
    try:
        folder = Path(snapshot_download(repository, allow_patterns=["*.json", "*.safetensors"], **options))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = escape((str(error).strip().splitlines() or [type(error).__name__])[0])
        raise UserError(
            f"no folder {hub_id!r} here, and the hub gave none of that name ({reason}); give a run folder, "
            f"{part}, or a hub id 'user/name' or 'user/name@revision'"
        ) from error
    if (commit := commit_of(folder)) and options.get("revision") != commit:
        log.info(f"{repository}: commit {commit}; {repository}@{commit} names the same files in future")
    return folder


def commit_of(folder: Path) -> str | None:
    """The commit of a folder in the hub's cache; None elsewhere."""
    return folder.name if folder.parent.name == "snapshots" and COMMIT.fullmatch(folder.name) else None


def pin(model: str, part: str = "") -> str:
    """`user/name@commit` for a hub id; a folder's name stays as it is.

    Raises:
        UserError: as `download` does.
    """
    if not HUB_ID.fullmatch(model) or Path(model).exists():
        return model
    commit = commit_of(download(model, part, {}))
    return f"{model.partition('@')[0]}@{commit}" if commit else model
