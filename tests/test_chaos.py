"""Commands that are killed again and again, and begun again, leave what one that nobody disturbed leaves.

Every command that writes is killed at random steps and times by SIGKILL, SIGTERM and SIGINT, with MLflow on.
SUITE_CHAOS_KILLS is the number of kills (30), SUITE_CHAOS_SEED the seed (a new one each time, which is printed), and
SUITE_CHAOS_COMMANDS which commands (all).
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers import warm
from helpers.chaos import IN_A_ROW, PRELOADED, Chaos, contents, leftovers, mlflow_runs, timeless
from helpers.postgres import server

from suite.statistics.bounds import certified_radius

pytest.importorskip("mlflow")
KILLS = int(os.environ.get("SUITE_CHAOS_KILLS", "30"))
SEED = int(os.environ.get("SUITE_CHAOS_SEED", str(time.time_ns() % 10**6)))
HARD = {"tune": 1}  # a trial whose process dies twice is left, which Ctrl-C does not count for
QUICK = ["--dataset", "digits", "--set", "batch_size=64", "--runs", "runs"]
RUN = ["run", *QUICK, "--images", "4", "--n", "50", "--n0", "5", "--epochs", "0.15"]
SHORT_START = ["--set", "start.training.epochs=0.15", "--set", "start.training.batch_size=64"]
HEAT = [*RUN, "--method", "heat", "--kappa", "1", *SHORT_START]
TUNE = [
    "tune",
    *QUICK,
    "--images",
    "4",
    "--n",
    "50",
    "--method",
    "baseline",
    "--sampler",
    "grid",
    "--search",
    "sigma=0.1,0.2,0.3",
]
TUNE += ["--trials", "3", "--set", "epochs=0.1", "--pruner", "none", "--study", "s"]
IMPORT = ["import", "a.tsv", "b.tsv", "--board", "cifar10", "--method", "x", "--citation", "A. 2020", "--few"]
IMPORT += ["--arch", "resnet20", "--board-root", "boards"]
NEW_LOGS = [*IMPORT, "--n", "100000", "--sigma", "1.0", "--replace"]
EXPERIMENT = """title = "small"
dataset = "digits"
methods = ["baseline", "randomized-smoothing"]
sigmas = [0.25]
seeds = [0]
settings = {epochs = 0.1, batch_size = 64, images = 3, n0 = 5, n = 50}
"""


def write_logs(folder: Path, n: int, sigma: float) -> None:
    for name, votes in (("a", n - 10), ("b", n - 5)):
        radius = float(certified_radius(votes, n, 0.001, sigma))
        lines = [f"{i}\t{i % 10}\t{i % 10}\t{radius:.6f}\t1\t0.1" for i in range(20)]
        (folder / f"{name}.tsv").write_text("\n".join(["idx\tlabel\tpredict\tradius\tcorrect\ttime", *lines]) + "\n")


@dataclass(frozen=True)
class Stores:
    """What rounds begin with: an empty store, one of finished runs, and boards that have rows already."""

    empty: Path
    finished: Path
    boards: Path

    def begin(self, name: str, folder: Path) -> list[str]:
        """Lay out a folder for a command; its words."""
        shutil.copytree(self.finished if name in ("sync", "publish") else self.empty, folder / "runs")
        if name in ("import", "publish"):
            shutil.copytree(self.boards, folder / "boards")
        (folder / "e.toml").write_text(EXPERIMENT)
        write_logs(folder, 100_000, 1.0)
        ids = sorted(file.parent.name for file in self.finished.glob("*/result.json"))
        return {
            "run": HEAT,
            "experiment": ["experiment", "e.toml", "--runs", "runs"],
            "tune": TUNE,
            "import": NEW_LOGS,
            "publish": ["publish", *ids, "--runs", "runs", "--board-root", "boards"],
            "sync": ["sync", "--runs", "runs"],
        }[name]


COMMANDS = os.environ.get("SUITE_CHAOS_COMMANDS", "run,experiment,tune,import,publish,sync").split(",")


@pytest.fixture(scope="module")
def suite_script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    process, script = warm.start(tmp_path_factory.mktemp("chaos"), PRELOADED)
    yield script
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def stores(suite_script: Path, tmp_path_factory: pytest.TempPathFactory) -> Stores:
    from suite.store.mlflow import connect

    root = tmp_path_factory.mktemp("stores")
    found = Stores(root / "empty", root / "runs", root / "boards")
    chaos = Chaos(suite_script, Random(0))
    connect(found.empty)  # MLflow takes seconds to make its database
    shutil.rmtree(found.empty / ".mlflow.locks")
    words = [*RUN, "--method", "baseline", "--no-track"]
    for seed in ("0", "1"):
        code, said = chaos.call(root, [*words, "--seed", seed])
        assert code == 0, said
    shutil.copy(found.empty / "mlflow.db", found.finished)
    write_logs(root, 1_000, 0.25)
    first = next(found.finished.glob("*/result.json"))
    for line in ([*IMPORT, "--n", "1000", "--sigma", "0.25"], ["publish", first.parent.name, "--board-root", "boards"]):
        code, said = chaos.call(root, line)
        assert code == 0, said
    content = json.loads(first.read_text())
    first.write_text(json.dumps(content | {"note": "another one than the one that is published"}))
    return found


def trials(storage: str) -> Counter[str]:
    """The trials of the study that came to an end, by what they tried and what came of it; none goes on."""
    import optuna

    study = optuna.load_study(study_name="s", storage=storage)
    assert all(trial.state.is_finished() for trial in study.trials)
    return Counter(f"{trial.params} {trial.values}" for trial in study.trials if trial.state.name == "COMPLETE")


def board(chaos: Chaos, folder: Path) -> Any:
    code, said = chaos.call(folder, ["leaderboard", "digits", "--format", "json", "--runs", "runs"])
    assert code == 0, said
    return timeless(json.loads(said))


@dataclass(frozen=True)
class Place:
    """Where MLflow and Optuna keep things in a round: the environment, their URLs, and a way to begin anew."""

    environment: dict[str, str]
    mlflow: Callable[[Path], str]
    studies: Callable[[Path], str]
    anew: Callable[[], None]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place(
            {}, lambda folder: f"sqlite:///{folder}/runs/mlflow.db", lambda folder: f"sqlite:///{folder}/runs/studies.db",
            lambda: None,
        )  # fmt: skip
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import create_engine, text

    with server() as url:
        url = url.replace("postgresql:", "postgresql+psycopg:")
        base = url.removesuffix("/postgres")
        admin = create_engine(url, isolation_level="AUTOCOMMIT")

        def query(*lines: str) -> None:
            with admin.connect() as database:
                for line in lines:
                    database.execute(text(line))

        query("CREATE DATABASE pattern")
        SqlAlchemyStore(f"{base}/pattern", tmp_path.as_uri()).engine.dispose()

        def anew() -> None:
            query("DROP DATABASE IF EXISTS mine WITH (FORCE)", "CREATE DATABASE mine TEMPLATE pattern")
            query("DROP DATABASE IF EXISTS studies WITH (FORCE)", "CREATE DATABASE studies")

        environment = {"MLFLOW_TRACKING_URI": f"{base}/mine"}
        yield Place(environment, lambda _: f"{base}/mine", lambda _: f"{base}/studies", anew)
        admin.dispose()


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_killed_commands_leave_what_undisturbed_ones_leave(
    suite_script: Path, stores: Stores, place: Place, tmp_path: Path
) -> None:
    print(f"SUITE_CHAOS_SEED={SEED} SUITE_CHAOS_KILLS={KILLS}")
    chaos = Chaos(suite_script, Random(SEED), place.environment)
    each, wrong = max(1, KILLS // len(COMMANDS)), list[str]()
    wanted = {name: play(chaos, stores, place, tmp_path / f"{name}-0", name, disturbed=False) for name in COMMANDS}
    for number in itertools.count(1):
        left = [name for name in COMMANDS if chaos.tally.killed(name) < each]
        if not left:
            break
        for name in left:
            found = play(chaos, stores, place, tmp_path / f"{name}-{number}", name)
            for part, there in found.items():
                if there != wanted[name][part]:
                    wrong.append(f"{name}, round {number}: {part}: {difference(wanted[name][part], there)}")
                    print(wrong[-1], *chaos.tally.said, sep="\n")
            shutil.rmtree(tmp_path / f"{name}-{number}")
        faults = f"{len(wrong)} wrong, {len(chaos.tally.failures)} failed, {len(chaos.tally.tracebacks)} tracebacks"
        print(f"round {number}: {faults}: {dict(chaos.tally.kills)}", flush=True)
    print(json.dumps({"kills": chaos.tally.kills, "ends": chaos.tally.ends}, indent=1))
    print(*chaos.tally.tracebacks, sep="\n")
    assert not wrong
    assert not chaos.tally.failures
    assert not chaos.tally.tracebacks
    assert sum(chaos.tally.kills.values()) >= each * len(COMMANDS)


def difference(wanted: Any, there: Any) -> str:
    """What differs, in a few hundred characters."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        names = [name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)]
        return "; ".join(f"{name}: {difference(wanted.get(name), there.get(name))}" for name in sorted(names))
    return f"{str(wanted)[:200]} is now {str(there)[:200]}"


def play(
    chaos: Chaos, stores: Stores, place: Place, folder: Path, name: str, *, disturbed: bool = True
) -> dict[str, Any]:
    """Carry out a command in a folder of its own, killed or not, and give all that is there afterwards."""
    folder.mkdir()
    place.anew()
    words = stores.begin(name, folder)
    if name == "tune":
        words = [*words, "--storage", place.studies(folder).replace("+psycopg", "")]
    if disturbed:
        chaos.endure(name, folder, words, hard=HARD.get(name, IN_A_ROW))
    else:
        chaos.measure(name, folder, words)
    found: dict[str, Any] = {"files": contents(folder), "left": leftovers(folder)}
    if name in ("import", "publish"):
        return found
    code, said = chaos.call(folder, ["sync", "--runs", "runs"])  # a server may have been slow
    assert code == 0, said
    logged = mlflow_runs(place.mlflow(folder))
    if name != "tune":
        return found | {"MLflow": logged, "board": board(chaos, folder)}
    found |= {"trials": trials(place.studies(folder)), "doubled in MLflow": logged["doubled"]}
    if not place.environment:  # a study in another storage than the store's own is not sent later
        ended = [run for name, run in logged["runs"].items() if run["status"] == "FINISHED" and name != "s"]
        for run in ended:  # a model that was trained before its process died is not looked at in training again
            run["metrics"] = {p: number for p, number in run["metrics"].items() if not p[0].startswith("intermediate.")}
        by_value = {run["params"]["sigma"]: run for run in ended}
        assert {run["status"] for run in logged["runs"].values()} <= {"FINISHED", "FAILED"}
        found |= {"trials in MLflow": by_value, "finished in MLflow": len(ended)}
    return found


def at_once(suite_script: Path, folder: Path, lines: list[list[str]]) -> list[str]:
    """What commands say that are begun together, all of which end well."""
    begun = [
        subprocess.Popen(
            [suite_script, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for words in lines
    ]
    said = [process.communicate(timeout=300)[0] for process in begun]
    assert [process.returncode for process in begun] == [0] * len(lines), said
    assert not [text for text in said if "Traceback" in text]
    return said


@pytest.mark.slow
def test_three_syncs_at_once_send_each_run_once(suite_script: Path, stores: Stores, tmp_path: Path) -> None:
    sync = stores.begin("sync", tmp_path)
    for day in ("2021-01-01", "2022-02-02"):
        for file in tmp_path.glob("runs/*/result.json"):
            file.write_text(json.dumps(json.loads(file.read_text()) | {"date": day}))
        at_once(suite_script, tmp_path, [sync] * 3)
        logged = mlflow_runs(f"sqlite:///{tmp_path}/runs/mlflow.db")
        assert [run["status"] for run in logged["runs"].values()] == ["FINISHED"] * 2
        assert not logged["doubled"]


@pytest.mark.slow
def test_three_processes_search_what_shares_one_model(suite_script: Path, stores: Stores, tmp_path: Path) -> None:
    """What baseline is certified with is searched, so all trials train one model, and each that ends removes it."""
    words = stores.begin("tune", tmp_path)
    at_once(suite_script, tmp_path, [[*words, "--no-track"]] * 3)
    found = trials(f"sqlite:///{tmp_path}/runs/studies.db")
    assert (len(found), sum(found.values())) == (3, 3)
    assert not list(tmp_path.glob("runs/studies/models/baseline*/model.safetensors"))
    assert not leftovers(tmp_path)
