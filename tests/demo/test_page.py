"""The page of the demo: served on the loopback interface only, from this machine alone."""

import re
import socket
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest
from degrade_model import save_run

from unpairaug.demo import page as demo_page
from unpairaug.demo.model import DemoModel
from unpairaug.demo.page import require_gradio, serve_demo
from unpairaug.errors import UserError


def test_it_answers_on_the_loopback_interface_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("gradio")
    for name in (*demo_page.PRIVATE, "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "")  # restored at the end
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serve_demo(DemoModel(str(save_run(tmp_path / "run"))), 0) as (page, address):
        html = build_opener(ProxyHandler({})).open(address, timeout=30).read().decode()
        port = int(address.rpartition(":")[2])
        with pytest.raises(UserError, match=rf"--port {port}: .*give another one"):
            demo_page._find_port(port)
        assert page.local_url == f"{address}/" and page.share_url is None
        assert not page.analytics_enabled
        assert not getattr(page, "run_history", False)  # gradio 6.2 has none
    assert all(f'"{tab}"' in html for tab in ("Restore", "Degrade", "Measure"))
    assert not re.findall(r"""<(?:script|link)[^>]*(?:src|href)=["'](https?:[^"']*)""", html)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_without_gradio_one_message_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo_page, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'unpairaug\[demo\]'"):
        require_gradio()


def test_a_users_mistake_is_shown_as_text_not_as_html():
    gradio = pytest.importorskip("gradio")

    @demo_page._show_errors
    def fail() -> None:
        raise UserError("<img src=x>.png: this is no image")

    with pytest.raises(gradio.Error) as raised:
        fail()
    assert raised.value.message == "&lt;img src=x&gt;.png: this is no image"
