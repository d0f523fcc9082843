"""The demo as a page of gradio, served on the loopback interface only."""

# pyright: reportMissingImports=false
# gradio is of the extra `demo` alone, which `dev` does not install.

from __future__ import annotations

import os
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from html import escape as escape_html
from importlib.util import find_spec
from io import BytesIO
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from PIL import Image

from unpairaug.data.decode import Array
from unpairaug.errors import UserError, format_install

if TYPE_CHECKING:
    import gradio
    from gradio.themes import Base

    from unpairaug.demo.model import DemoModel

HOST = "127.0.0.1"
PRIVATE = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""Environment that keeps gradio from sending anything, and from recording what is done on the page."""
LARGEST_HEIGHT = 720
"""Height of the slider on the page in pixels, at most."""
MAX_DRAWS = 8
MAX_UPLOAD = "200mb"
FORMATS = [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"]
FONTS = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
"""Fonts of the machine: those of gradio's themes are requested from another host."""
CSS = """
button[role=tab].selected { color: var(--body-text-color) !important; }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
.pictures figure { margin: 0; }
.pictures figure:only-child { grid-column: 1 / -1; }
.pictures img { max-width: 100%; }
th, td { overflow-wrap: normal !important; word-break: normal !important; }
td + td { white-space: nowrap; }
"""
"""Selected tabs have too little contrast in gradio's themes; pictures stand side by side where there is room; the words
and figures of a table are not broken."""

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def serve_demo(model: DemoModel, port: int) -> Iterator[tuple[gradio.Blocks, str]]:
    """Serve the page while the block runs: the page and its address. Uploaded photographs are deleted at its end.

    Args:
        model: what the page tries.
        port: on the loopback interface; 0 takes a free one.

    Raises:
        UserError: gradio is not installed, or another program uses the port.
    """
    require_gradio()
    port = _find_port(port)
    with TemporaryDirectory(prefix="unpairaug_demo_") as folder:
        os.environ.update(PRIVATE, GRADIO_TEMP_DIR=folder)
        page = build_page(model)
        _launch(page, port)
        try:
            yield page, f"http://{HOST}:{port}"
        finally:
            page.close()


def require_gradio() -> None:
    """Check that gradio is installed.

    Raises:
        UserError: it is not.
    """
    if find_spec("gradio") is None:
        raise UserError(f"the demo needs gradio: {format_install('demo')}")


def build_page(model: DemoModel) -> gradio.Blocks:
    """The page: one tab for each thing that the model can do, and one to measure a camera."""
    import gradio as gr

    with gr.Blocks(title=f"unpairaug demo: {model.name}", analytics_enabled=False) as page:
        gr.Markdown(f"# unpairaug demo\n\nModel `{model.name}`, scale {model.scale}. Photographs stay on this machine.")
        if model.head is not None:
            with gr.Tab("Restore"):
                _add_restore(model)
        if model.degrader is not None:
            with gr.Tab("Degrade"):
                _add_degrade(model)
        with gr.Tab("Measure"):
            _add_measure(model)
        for why in model.missing.values():
            gr.Markdown(f"Not shown: {why}")
    return page


def _add_restore(model: DemoModel) -> None:
    """A degraded photograph and a slider between before and after."""
    import gradio as gr

    before = "enlarged by bicubic interpolation" if model.scale > 1 else "as it is"
    gr.Markdown(f"Left of the slider: the photograph {before}. Right: restored.")
    file = gr.File(label="A degraded photograph", file_types=FORMATS)
    slider = gr.ImageSlider(label="Before and after", format="png", type="numpy", max_height=LARGEST_HEIGHT)
    note = gr.Markdown()

    @_show_errors
    def restore(path: str) -> tuple[Any, str]:
        found = model.restore(path)
        return (found.before, found.after), found.note

    file.upload(restore, file, [slider, note])


def _add_degrade(model: DemoModel) -> None:
    """A clean photograph and several draws of the translator."""
    import gradio as gr

    gr.Markdown("The translator degrades a clean photograph as the camera would. Each draw has other noise.")
    file = gr.File(label="A clean photograph", file_types=FORMATS)
    with gr.Row():
        draws = gr.Slider(1, MAX_DRAWS, value=3, step=1, label="Draws")
        seed = gr.Number(0, label="Seed", precision=0, minimum=0)
    button = gr.Button("Draw", variant="primary")
    pictures, note = gr.HTML(), gr.Markdown()

    @_show_errors
    def degrade(path: str | None, count: float, number: float) -> tuple[str, str]:
        if path is None:
            raise UserError("there is no photograph yet; drop one into the field above")
        found = model.degrade(path, int(count), int(number))
        return format_pictures(found.pictures), found.note

    gr.on([file.upload, button.click], degrade, [file, draws, seed], [pictures, note])


def _add_measure(model: DemoModel) -> None:
    """A degraded photograph, the figures of its camera, and their picture."""
    import gradio as gr

    gr.Markdown("Gain of the optics, noise and JPEG quality of one photograph, beside those of the run's camera.")
    file = gr.File(label="A degraded photograph", file_types=FORMATS)
    table, picture = gr.Markdown(), gr.HTML()

    @_show_errors
    def measure(path: str) -> tuple[str, str]:
        found = model.measure(path)
        head = "| figure | photograph | run |\n|---|---|---|\n"
        rows = "".join(f"| {name} | {figure} | {of_run or '–'} |\n" for name, figure, of_run in found.rows)
        return f"{head}{rows}\n{found.note}", format_pictures([(found.picture, "the figures as curves")])

    file.upload(measure, file, [table, picture])


def format_pictures(pictures: Sequence[tuple[Array | Image.Image, str]]) -> str:
    """Pictures with their captions as HTML, at their own size where there is room; without loss."""
    figures = []
    for picture, caption in pictures:
        data = BytesIO()
        (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(data, format="PNG")
        source = f"data:image/png;base64,{b64encode(data.getvalue()).decode()}"
        text = escape_html(caption)
        figures.append(f'<figure><img src="{source}" alt=""><figcaption>{text}</figcaption></figure>')
    return f'<div class="pictures">{"".join(figures)}</div>'


def _show_errors(function: Callable[P, T]) -> Callable[P, T]:
    """The function with a `UserError` as a message on the page."""

    @wraps(function)
    def run(*args: P.args, **options: P.kwargs) -> T:
        import gradio as gr

        try:
            return function(*args, **options)
        except UserError as error:
            text = escape_html(str(error))  # the page shows HTML, and a file's name may hold some
            raise gr.Error(text, duration=None, print_exception=False) from error

    return run


def _find_port(port: int) -> int:
    """The port, or a free one for 0.

    Raises:
        UserError: it cannot be used.
    """
    try:
        with socket.create_server((HOST, port)) as probe:
            return probe.getsockname()[1]
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}; give another one, or 0 for a free one") from error


def _make_theme() -> Base:
    """Gradio's theme in the machine's fonts, with enough contrast on the button."""
    from gradio.themes import Default

    theme = Default(primary_hue="blue", font=FONTS[0], font_mono=FONTS[1])
    return theme.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
    )


def _launch(page: gradio.Blocks, port: int) -> None:
    page.launch(
        server_name=HOST,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        footer_links=[],
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        ssr_mode=False,
        max_file_size=MAX_UPLOAD,
        css=CSS,
        theme=_make_theme(),
    )
