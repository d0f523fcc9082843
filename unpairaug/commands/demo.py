"""`unpairaug demo`: try a trained model on single photographs in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from unpairaug.commands.trust import TrustCode


def demo(
    model: Annotated[
        str, typer.Argument(help="Run folder, its head/ or translator/ folder, or hub id.", metavar="MODEL")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 7860,
    trust_code: TrustCode = False,
) -> None:
    """Try a trained model in a browser: restore a photograph, degrade a clean one, measure a camera.

    The page is served on 127.0.0.1 only, so that no other machine reaches it, and requests nothing from other hosts.
    Ctrl-C ends it and deletes the uploaded photographs. It needs the extra 'demo'.

    Example: unpairaug demo runs/cyclesr_sr
    """
    from unpairaug.demo.page import require_gradio, serve_demo

    require_gradio()  # before the model is loaded
    from unpairaug.demo.model import DemoModel
    from unpairaug.errors import escape

    with serve_demo(DemoModel(model, trust_code), port) as (page, address):
        print(f"demo of {escape(model)}: {address} (Ctrl-C ends it)", flush=True)
        page.block_thread()
