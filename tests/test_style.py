"""The sizes that CONTRIBUTING.md promises, so that a file and a function can be read at once."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = [path for home in ("unpairaug", "tasks") for path in sorted((ROOT / home).rglob("*.py"))]
MAX_FUNCTION, MAX_FILE = 45, 300


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_are_short(path: Path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE, "part the file by what its functions are about"
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    sizes = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert not {name: size for name, size in sizes.items() if size > MAX_FUNCTION}
