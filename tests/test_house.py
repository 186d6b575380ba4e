"""The house: what imports what. Data flow one way, and no room needs one that is above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (  # from the top down; an arrow goes down, or stays on its floor
    {"suite.cli", "suite.__main__"},
    {"app"},
    {"leaderboards"},
    {"suite.experiments", "suite.tuning", "suite.api", "suite.viewer", "suite.illustrate"},
    {"suite.executors"},
    {"suite.pipeline"},
    {"suite.effort"},
    {"suite.followers"},
    {"suite.training", "suite.protocols"},
    {"suite.store"},
    {"suite.spec"},
    {"methods"},
    {"suite.attacks", "suite.data"},
    {"suite.networks", "suite.smoothing"},
    {"suite.statistics"},
    {"suite.boards", "suite.registry", "suite.ranges"},
    {"suite.progress", "suite.team"},
    {"suite.cores", "suite.errors", "suite.leftovers"},
)
PUBLIC = {"suite"}  # its names are looked up in their rooms on first use


def modules() -> dict[str, ast.Module]:
    found = {}
    for package in ("suite", "methods", "leaderboards", "app"):
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(file.read_text(encoding="utf-8"))
    return found


TREE = modules()


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules of this project that code imports, anywhere but for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in TREE)
        elif isinstance(node, ast.ImportFrom) and node.module in TREE:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in TREE else str(node.module)
        else:
            yield from imports(node)


ARROWS = {name: set(imports(tree)) - {name} for name, tree in TREE.items()}


def floor(module: str) -> int:
    """How far down a module's room is."""
    parts = module.split(".")
    rooms = {".".join(parts[:2]), parts[0]}
    [number] = [number for number, names in enumerate(ROOMS) if names & rooms]
    return number


def test_every_module_has_a_room() -> None:
    assert all(floor(module) >= 0 for module in TREE.keys() - PUBLIC)
    assert ARROWS["suite.pipeline"] > {"suite.training", "suite.protocols.protocol"}  # arrows are seen


def test_no_arrow_goes_up() -> None:
    upwards = [
        f"{module} → {other}"
        for module, others in ARROWS.items()
        for other in others
        if not {module, other} & PUBLIC and floor(other) < floor(module)
    ]
    assert not upwards


def test_methods_and_protocols_do_not_know_each_other() -> None:
    protocols = {module for module in TREE if module.startswith("suite.protocols.")}
    for module in protocols:
        assert not {other for other in ARROWS[module] if other.startswith("methods.")}, module
    for module in (module for module in TREE if module.startswith("methods")):
        assert not ARROWS[module] & protocols, module


def test_there_is_no_circle() -> None:
    order = list(TopologicalSorter({m: others - PUBLIC for m, others in ARROWS.items()}).static_order())
    assert len(order) == len(TREE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        "import suite.statistics.bounds, suite.statistics.intervals, suite.statistics.sequential",
        "from pathlib import Path; from leaderboards import table; assert len(table('cifar10', Path('nowhere'))) > 15",
        "from leaderboards.render import cells, export, page, terminal; from leaderboards.paper import report",
        "from suite.protocols.protocol import columns; assert 'acr' in columns()",
    ],
)
def test_statistics_and_boards_do_without_torch(what: str) -> None:
    program = f"{what}\nimport sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_name_of_the_package_is_what_it_says() -> None:
    import suite
    import suite.pipeline as pipeline

    assert suite.run is pipeline.run
    assert set(suite.__all__) <= set(dir(suite))
    with pytest.raises(AttributeError, match="has no attribute 'walk'"):
        suite.walk  # noqa: B018
