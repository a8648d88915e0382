"""What tests share has an address: no module imports from a test file or from a conftest.py."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world.command import ROOT


def imported(text: str) -> Iterator[str]:
    """Every module that the text of a module may import from, with the names it takes from each."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A name may be a module of the package.
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def from_tests(text: str) -> list[str]:
    """What it imports that lives in a test file or in a conftest.py."""
    return [
        name
        for name in imported(text)
        if any(part == "conftest" or part.startswith("test_") for part in name.split("."))
    ]


@pytest.mark.parametrize(
    "line",
    [
        "from tests.conftest import Cli",
        "from tests.tick.test_tick import people",
        "from tests.tick import test_tick",
        "from .conftest import Cli",
        "from . import conftest",
        "import tests.tick.test_tick",
        "def f():\n    from tests.conftest import Cli",
    ],
)
def test_such_an_import_is_found(line: str) -> None:
    assert from_tests(line)


@pytest.mark.thorough
def test_no_module_imports_from_a_test_file_or_a_conftest() -> None:
    modules = [path for folder in ("seqdev", "tests") for path in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 100
    found = {str(path.relative_to(ROOT)): from_tests(path.read_text()) for path in modules}
    assert not {path: names for path, names in found.items() if names}


def test_a_conftest_defines_fixtures_only() -> None:
    def is_fixture(node: ast.stmt) -> bool:
        return isinstance(node, ast.FunctionDef) and any(
            "fixture" in ast.unparse(decorator) for decorator in node.decorator_list
        )

    found = {}
    conftests = list((ROOT / "tests").rglob("conftest.py"))
    assert len(conftests) > 2
    for path in conftests:
        body = ast.parse(Path(path).read_text()).body
        definitions = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        if others := [node.name for node in definitions if not is_fixture(node)]:
            found[str(path.relative_to(ROOT))] = others
    assert not found
