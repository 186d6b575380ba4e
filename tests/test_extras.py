"""Dependencies in parts: the core trains, certifies and prints boards; a missing extra is one line that names it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers.cli import Answer, Cli, options

from suite.errors import UserError, require

HERE = Path(__file__).parent
ROOT = HERE.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TINY = {"method": "baseline", "dataset": "digits", "profile": "demo", "epochs": 0.2, "n": 100, "images": 10}
MODULES = {
    "track": ["mlflow"],
    "tune": ["optuna", "cmaes", "sqlalchemy"],
    "app": ["streamlit", "plotly", "kaleido"],
    "audit": ["pyautoattack"],
    "networks": ["timm", "huggingface_hub"],
    "postgres": ["psycopg"],
}
WITHOUT_EXTRAS = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.path.insert(0, {here!r})
import json
from helpers.cli import call
print(json.dumps([call(*line) for line in json.loads(sys.argv[1])]))
"""


def install_line(extra: str) -> str:
    return f"pip install 'l2-robustness-suite[{extra}]'"


def run_core(*lines: list[str]) -> list[Answer]:
    """What each command line says, one after another, in a Python that has none of the extras."""
    program = WITHOUT_EXTRAS.format(modules={name for modules in MODULES.values() for name in modules}, here=str(HERE))
    done = subprocess.run([sys.executable, "-c", program, json.dumps(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [Answer(*each) for each in json.loads(done.stdout)]


@pytest.mark.slow
def test_the_core_runs_and_prints_boards_alone(tmp_path: Path) -> None:
    runs = ["--runs", str(tmp_path)]
    run = ["run", *options(TINY), *runs, "--format", "json"]
    files = [[form, "--out", str(tmp_path / "board")] for form in ("json", "csv", "markdown", "latex")]
    boards = [["leaderboard", "digits", *runs, "--format", *file] for file in (["table"], *files)]
    first, again, *printed = run_core([*run, "--no-track"], run, *boards)
    assert first.code == 0, first.err
    assert json.loads(first.out)["images"] == 10
    assert "mlflow" not in first.err.lower()
    assert (again.code, json.loads(again.out)) == (0, json.loads(first.out))
    [said] = [line for line in again.err.splitlines() if "mlflow" in line]
    assert said == f"the run was not logged: --track needs mlflow: {install_line('track')}; 'suite sync' does it later"
    for board in printed:
        assert board.code == 0, board.err


@pytest.mark.parametrize(
    ("command", "user", "extra", "module"),
    [
        ("tune --method heat --dataset digits --runs RUNS", "suite tune", "tune", "optuna"),
        ("tune --method heat --dataset digits --runs RUNS", "suite tune", "tune", "cmaes"),
        ("studies --runs RUNS", "suite studies", "tune", "sqlalchemy"),
        ("studies show mine --runs RUNS", "suite studies", "tune", "optuna"),
        ("app --runs RUNS", "suite app", "app", "streamlit"),
        ("app --runs RUNS", "suite app", "app", "plotly"),
        ("report cifar10 --runs RUNS", "suite report", "app", "plotly"),
        ("leaderboard cifar10 --runs RUNS --format html", "--format html", "app", "plotly"),
        ("site build --out RUNS", "suite site build", "app", "plotly"),
        ("illustrate --out RUNS", "suite illustrate", "app", "plotly"),
        ("sync --runs RUNS", "suite sync", "track", "mlflow"),
        ("tune --method heat --dataset digits --storage postgresql://h/d", "a postgresql:// storage", "postgres",
         "psycopg"),
    ],
)  # fmt: skip
def test_a_missing_extra_is_one_line_that_names_it(
    suite: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, user: str, extra: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    said = suite.mistake(*command.replace("RUNS", "runs").split())
    assert said == f"suite: {user} needs {module}: {install_line(extra)}"


def test_an_audit_without_its_library_says_so_before_anything_is_computed(
    suite: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    command = ["run", *options(TINY), "--protocols", "audit", "--no-track", "--runs", str(tmp_path)]
    said = suite.mistake(*command)
    assert said == f"suite: audit.searches with apgd-ce or apgd-t needs pyautoattack: {install_line('audit')}"
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_module_that_is_there_and_does_not_import_is_said_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    require("this", "all", "json")
    with pytest.raises(
        UserError, match=r"needs half_installed \(it does not import: No module named 'no_such_module'\)"
    ):
        require("this", "all", "half_installed")


def test_the_extras_have_the_modules_and_all_has_every_one() -> None:
    extras = PROJECT["optional-dependencies"]
    for extra, modules in MODULES.items():
        assert set(modules) <= {text.partition(">")[0].partition("[")[0].replace("-", "_") for text in extras[extra]}
        assert not set(modules) & {text.partition(">")[0] for text in PROJECT["dependencies"]}
    assert extras["all"] == [f"{PROJECT['name']}[{','.join(MODULES)}]"]
    assert f"{PROJECT['name']}[all]" in extras["test"]


def test_make_takes_torch_alone_from_an_index_of_ones_own(tmp_path: Path) -> None:
    def plan(*given: str) -> list[str]:
        command = ["make", "--dry-run", "demo", f"VENV={tmp_path}/venv", *given]
        out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return [line.partition("-c constraints.txt ")[2] for line in out.splitlines() if " install " in line]

    assert plan() == ["-e .[all]"]
    index = "https://example.org/whl/cpu"
    assert plan(f"TORCH_INDEX={index}") == [f"--no-deps --index-url {index} torch torchvision", "-e .[all]"]
