"""The rules of the house: who imports whom, how long files and functions may be, what is declared."""

import ast
import re
import tomllib
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import sstutils

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sstutils"
FILES = sorted(path.relative_to(ROOT) for path in PACKAGE.rglob("*.py"))
TREES = {path: ast.parse((ROOT / path).read_text(encoding="utf-8")) for path in FILES}

# What each room may import beside itself. Every file that stands in no room is the method.
BELOW = {
    "method": set(),
    "photos": {"method"},
    "index": {"method", "figures"},
    "figures": {"method", "photos"},
    "study": {"method", "photos", "figures"},
    "lectures": {"method", "photos", "figures"},
    "cli": {"method", "photos", "index", "figures", "study", "lectures"},
}


def room(module: str) -> str:
    first = module.split(".")[1] if "." in module else ""
    if first == "__main__":  # ``python -m sstutils`` is the command
        return "cli"
    return first if first in BELOW else "method"


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """Modules of this package that a file imports, at its head or within a function."""
    package = path.parent.parts
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) + 1 - node.level]] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{base}.{name.name}" if f"{base}.{name.name}" in MODULES else base for name in node.names}
    return {name for name in found if name in MODULES} - {module_of(path)}


def test_a_room_imports_only_the_rooms_below_it():
    wrong = [
        f"{path} imports {name}"
        for path in FILES
        for name in imports(path)
        if room(name) not in BELOW[room(module_of(path))] | {room(module_of(path))}
    ]
    assert not wrong


def test_only_these_files_of_the_method_look_a_module_up_by_name():
    """What is offered from here, and what a name stands for: data, networks, photographs, losses of another library."""
    by_name = {
        path.relative_to("sstutils").as_posix()
        for path in FILES
        if room(module_of(path)) == "method"
        and any(isinstance(node, ast.Name) and node.id == "import_module" for node in ast.walk(TREES[path]))
    }
    assert by_name == {"__init__.py", "backbones.py", "datasets/__init__.py", "recipes.py", "runs.py"}


def test_a_renamed_module_is_found_by_its_old_name_with_a_warning():
    with pytest.warns(FutureWarning, match=r"sstutils\.parallel is now sstutils\.distributed"):
        assert sstutils.parallel is sstutils.distributed


def test_nothing_imports_in_a_circle():
    # A package's own __init__ offers what its modules hold; they take its names, if any, from within functions.
    graph = {module_of(path): imports(path) - {module_of(path.parent / "__init__.py")} for path in FILES}
    assert list(TopologicalSorter(graph).static_order())


def code_lines(node: ast.AST, source: list[str]) -> int:
    """Lines of a function that are neither docstring, comment nor blank."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    lines = source[body[0].lineno - 1 : body[-1].end_lineno] if body else []
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_functions_fit_on_a_screen(path):
    source = (ROOT / path).read_text(encoding="utf-8").splitlines()
    functions = [node for node in ast.walk(TREES[path]) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert {node.name: count for node in functions if (count := code_lines(node, source)) > 60} == {}


def test_files_of_the_method_are_short():
    lengths = {
        path: len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in FILES
        if room(module_of(path)) == "method"
    }
    assert {str(path): count for path, count in lengths.items() if count > 400} == {}
    # The goal is 3,000; heads, backbones of one's own and checks at each door take more. It may only fall from here.
    assert sum(lengths.values()) <= 4_900


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
INSTALLED = packages_distributions()  # module -> the distributions that it comes from
LATER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Try)


def declared(*lists: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;]", name)[0].strip().lower() for names in lists for name in names}


def needed(tree: ast.AST, later: bool = True) -> set[str]:
    """Distributions that a file imports; without `later` those that it cannot be imported without."""
    found, nodes = set(), [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
            found.add(node.args[0].value)
        if later or not isinstance(node, LATER):
            nodes += ast.iter_child_nodes(node)
    return {name.lower() for module in found for name in INSTALLED.get(module.split(".")[0], [])} - {"sstutils"}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    trees = [*TREES.values(), *(ast.parse(path.read_text("utf-8")) for path in (ROOT / "tests").rglob("*.py"))]
    used = set().union(*map(needed, trees))
    every = declared(PROJECT["dependencies"], *EXTRAS.values())
    installed = {name.lower() for names in INSTALLED.values() for name in names}  # of peers, only for benchmarks
    programs = {"jupyterlab", "nbval", "ruff", "setuptools", "pytest-xdist"}  # run by name, or asked for by torch
    assert used - every == set()
    assert (every & installed) - used - programs == set()


def test_whoever_installs_the_package_can_import_all_of_it():
    """What a file imports at its head is a base dependency; what a function imports may be in an extra of a user."""
    base = declared(PROJECT["dependencies"])
    offered = base | declared(*(names for extra, names in EXTRAS.items() if extra != "test"))
    assert {str(path): lack for path, tree in TREES.items() if (lack := needed(tree, later=False) - base)} == {}
    assert {str(path): lack for path, tree in TREES.items() if (lack := needed(tree) - offered)} == {}
