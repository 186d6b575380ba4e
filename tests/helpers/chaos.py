"""Commands that are killed at moments drawn at random, and what they leave behind, to compare."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from suite.leftovers import LEFTOVER

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
IN_A_ROW = 6
STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.utime", "sqlite3.connect"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
PRELOADED = (
    "torch._dynamo", "pandas", "scipy.stats", "sklearn.datasets", "optuna", "sqlalchemy.dialects.postgresql.psycopg",
    "suite.pipeline", "suite.experiments.experiment", "suite.tuning.trials", "suite.store.mlflow.send",
    "suite.store.mlflow.model", "mlflow.store.tracking.sqlalchemy_store", "mlflow.data.schema", "mlflow.models",
    "mlflow.store.artifact.local_artifact_repo", "mlflow.tracking.client", "methods.heat",
    "methods.randomized_smoothing", "suite.networks.cnn", "suite.networks.folding", "suite.smoothing.voting",
    "suite.data.digits", "suite.protocols.accuracy", "suite.protocols.certify", "suite.protocols.audit",
    "suite.protocols.lbound", "suite.protocols.timing", "safetensors.torch", "torch.fx.experimental.optimization",
    "sqlalchemy.dialects.sqlite", "leaderboards.paper.report", "leaderboards.published.store",
)  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """When a command kills itself: before its n-th step on files or in a database, or after so many seconds.

    The number of steps that it made is left in the file `count`.
    """

    signal: int = signal.SIGKILL
    step: int | None = None
    seconds: float | None = None
    count: str | None = None


def watched(main: Callable[[], None]) -> Callable[[], None]:
    """The command line, which kills itself at the moment that its environment names, if any."""

    def carry_out() -> None:
        if not (said := os.environ.get("SUITE_CHAOS")):
            return main()
        moment, steps = Moment(**json.loads(said)), arrange(Moment(**json.loads(said)))
        try:
            main()
        finally:
            if moment.count:
                Path(moment.count).write_text(str(next(steps)))

    return carry_out


def arrange(moment: Moment) -> Iterator[int]:
    """Have this process kill itself; what counts its steps. A checkpoint is written after each step of training."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    from suite import training
    from suite.store.records import RecordFile

    training.CHECKPOINT_SHARE = 1e9
    steps = itertools.count(1)

    def step(*_: Any, **__: Any) -> None:
        if next(steps) == moment.step:
            os.kill(os.getpid(), moment.signal)

    def audit(name: str, arguments: tuple[Any, ...]) -> None:
        if name in STEPS or (name == "open" and arguments[2] & WRITES):
            step()

    def wait() -> None:
        time.sleep(moment.seconds or 0)
        os.kill(os.getpid(), moment.signal)

    def write(file: RecordFile, record: dict[str, Any], real: Any = RecordFile.write) -> None:
        step()
        real(file, record)

    RecordFile.write = write  # type: ignore[method-assign]
    sys.addaudithook(audit)
    for what in ("before_cursor_execute", "commit"):
        event.listen(Engine, what, step)
    if moment.seconds is not None:
        threading.Thread(target=wait, daemon=True).start()
    return steps


@dataclass
class Tally:
    """What came of the commands: kills by command and signal, and how the commands ended that were not killed."""

    kills: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    tracebacks: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # of commands that nobody killed
    said: list[str] = field(default_factory=list)  # by the commands of this round

    def killed(self, name: str) -> int:
        """How often a command was killed."""
        return sum(number for key, number in self.kills.items() if key.startswith(f"{name} "))

    def add(self, name: str, what: int, code: int, said: str) -> bool:
        """Count an end; whether the command was killed."""
        self.said.append(f"{signal.Signals(what).name} {code}: {said}")
        killed = code == 137 or (code == 130 and what == signal.SIGINT)
        (self.kills if killed else self.ends)[f"{name} {signal.Signals(what).name if killed else code}"] += 1
        if "Traceback" in said:
            self.tracebacks.append(f"{name} {signal.Signals(what).name}: {said}")
        return killed


@dataclass
class Chaos:
    """Carries out commands by a warm `suite`, in a folder, and kills them at moments of a seed."""

    suite: Path
    draw: Random
    environment: dict[str, str] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    usual: dict[str, tuple[float, float]] = field(default_factory=dict)  # by command: its steps and seconds

    def call(self, folder: Path, words: list[str], moment: Moment | None = None) -> tuple[int, str]:
        """Exit code, and all that it said."""
        chaos = {"SUITE_CHAOS": json.dumps(asdict(moment))} if moment else {}
        environment = os.environ | self.environment | chaos
        ran = subprocess.run(
            [self.suite, *words], cwd=folder, env=environment, text=True, timeout=300,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return ran.returncode, ran.stdout

    def measure(self, name: str, folder: Path, words: list[str]) -> None:
        """Carry out a command without a kill, and learn how many steps and seconds it takes."""
        begun, count = time.monotonic(), folder.parent / f"{name}.steps"
        code, said = self.call(folder, words, Moment(count=str(count)))
        assert code == 0, said
        self.usual[name] = int(count.read_text()), time.monotonic() - begun

    def endure(self, name: str, folder: Path, words: list[str], *, hard: int = IN_A_ROW) -> None:
        """Carry out a command until it ends, begun again after each of some kills: at most `hard` of them no Ctrl-C."""
        steps, seconds = self.usual[name]
        self.tally.said.clear()
        for _ in range(IN_A_ROW):
            what = self.draw.choice(SIGNALS if hard else SIGNALS[-1:])
            hard -= what != signal.SIGINT
            if self.draw.random() < 0.75:
                moment = Moment(what, step=self.draw.randint(1, max(1, round(steps))))
            else:
                moment = Moment(what, seconds=self.draw.uniform(0.05, seconds / 2))
            steps, seconds = 0.8 * steps, 0.8 * seconds
            code, said = self.call(folder, words, moment)
            if not self.tally.add(name, what, code, said):
                break
        else:
            code, said = self.call(folder, words)
            self.tally.add(name, signal.SIGKILL, code, said)
        if code:
            self.tally.failures.append(f"{name}: {code}, {said}")


TIMES = re.compile(r"date|seconds.*|time|images_per_second.*")
KEPT_ON_PURPOSE = re.compile(r".*\.lock|\.schema")
DATABASES = re.compile(r"(mlflow|studies)\.db(-journal|-wal|-shm)?")


def timeless(value: Any) -> Any:
    """A JSON value without what depends on the clock."""
    if isinstance(value, dict):
        return {name: timeless(inner) for name, inner in value.items() if not TIMES.fullmatch(name)}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def contents(root: Path) -> dict[str, Any]:
    """All files beneath a folder but for databases, locks and what MLflow keeps: as they are, without times."""
    found: dict[str, Any] = {}
    for file in sorted(root.rglob("*")):
        place = file.relative_to(root).as_posix()
        if file.is_dir() or KEPT_ON_PURPOSE.fullmatch(file.name) or DATABASES.fullmatch(file.name):
            continue
        if "mlartifacts" in place or "mlruns" in place:
            continue
        if file.name == "environment.json" or file.name.startswith("report-"):
            found[place] = "there"
        elif file.suffix in (".json", ".jsonl"):
            found[place] = [timeless(json.loads(line)) for line in lines_of(file)]
        else:
            found[place] = file.read_bytes()
    return found


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]


def leftovers(root: Path) -> list[str]:
    """What only a killed process can have left."""
    names = re.compile(rf"{LEFTOVER.pattern}|training\.pt|.*\.held|.*\.new|.*-journal")
    return [str(path.relative_to(root)) for path in sorted(root.rglob("*")) if names.fullmatch(path.name)]


def mlflow_runs(url: str) -> dict[str, Any]:
    """What MLflow's database holds, by run: status, params and metrics; `doubled` names what is there twice."""
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    with engine.connect() as database:

        def rows(query: str) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in database.execute(text(query))]

        runs = rows("SELECT run_uuid, name, status FROM runs WHERE lifecycle_stage = 'active'")
        params: dict[str, dict[str, str]] = {run: {} for run, _, _ in runs}
        points: dict[str, Counter[Any]] = {run: Counter() for run, _, _ in runs}
        for run, name, value in rows("SELECT run_uuid, key, value FROM params"):
            with suppress(KeyError):
                params[run][name] = value
        for run, name, step, value in rows("SELECT run_uuid, key, step, value FROM metrics"):
            if run in points and not any(map(TIMES.fullmatch, name.split("."))):
                points[run][name, step, value] += 1
    engine.dispose()
    names = Counter(name for _, name, _ in runs)
    found = {name: {"status": s, "params": params[run], "metrics": points[run]} for run, name, s in runs}
    doubled = [name for name, number in names.items() if number > 1]
    doubled += [f"{name}: {point}" for run, name, _ in runs for point, number in points[run].items() if number > 1]
    return {"runs": found, "doubled": doubled}
