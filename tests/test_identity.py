"""Which settings move which files, and stores of earlier versions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.known import records_file
from helpers.rows import unpack_store
from pydantic import Field

from leaderboards import table
from leaderboards.curves import row_records
from suite import Machine, RunSpec, UserError, run
from suite.protocols.audit import PROTOCOL as AUDIT
from suite.protocols.audit import Audit
from suite.protocols.certify import PROTOCOL as CERTIFY
from suite.protocols.certify import Certify
from suite.protocols.protocol import Protocol
from suite.spec.sections import PROTOCOLS, Frozen, Training, section_types
from suite.store.migrate import migrate
from suite.store.read import read_spec
from suite.store.result import EARLIER, Result

EARLIER_RUN = "heat-digits-cnn-sigma0.25-seed0-a4773fc414"
TINY: dict[str, Any] = {
    "method": "heat", "dataset": "digits", "profile": "demo", "epochs": 0.2, "n": 100, "images": 12,
    "protocols": "all", "attack.images": 3, "audit.images": 3, "timing.repeats": 3, "lbound.images": 6,
    "agreement.images": 6, "start.training.epochs": 2, "agreement.against.training.epochs": 2,
}  # fmt: skip


class NewAudit(Audit):
    patience: int = Field(7, description="a setting that came later")


class NewCertify(Certify):
    patience: int = Field(7, description="a setting that came later")


def names(spec: RunSpec) -> dict[str, str]:
    return {"folder": spec.name} | {name: spec.records_digest(name) for name in PROTOCOLS.paths()}


def with_settings(monkeypatch: pytest.MonkeyPatch, name: str, protocol: Protocol, settings: type[Frozen]) -> None:
    changed = replace(protocol, settings=settings)
    monkeypatch.setattr(f"suite.protocols.{name}.PROTOCOL", changed)


@pytest.mark.parametrize(
    ("name", "protocol", "settings"), [("audit", AUDIT, NewAudit), ("certify", CERTIFY, NewCertify)]
)
def test_a_new_setting_with_a_default_moves_no_file(
    name: str, protocol: Protocol, settings: type[Frozen], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(RunSpec(**TINY))
    with_settings(monkeypatch, name, protocol, settings)
    spec = RunSpec(**TINY)
    assert getattr(spec, name).patience == 7
    assert names(spec) == before
    changed = names(RunSpec(**TINY, **{f"{name}.patience": 8}))
    moved = {key for key in before if changed[key] != before[key]}
    assert moved == ({"audit"} if name == "audit" else {"folder", "certify", "timing", "audit"})  # those that need it


@pytest.mark.slow
def test_a_finished_run_keeps_its_files_when_a_protocol_gets_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(runs=tmp_path, track=False)
    small = TINY | {"method": "baseline", "protocols": "accuracy,certify,lbound"}
    small = {name: value for name, value in small.items() if not name.startswith(("start", "agreement"))}
    folder = run(RunSpec(**small), machine).path
    before = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.glob("*.jsonl")}
    with_settings(monkeypatch, "audit", AUDIT, NewAudit)
    again = run(RunSpec(**small), machine).path
    assert again == folder
    after = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.glob("*.jsonl")}
    assert after == before
    assert len(before) == 3
    other = run(RunSpec(**small | {"protocols": "lbound", "lbound.draws": 50}), machine).path
    assert other == folder  # other settings of a protocol beside certify are of the same row
    result = Result.from_file(folder / "result.json")
    assert len(list(folder.glob("lbound-*.jsonl"))) == 2
    assert (folder / result.records["lbound"]).exists()
    assert result.metric("averaging.draws") == 50
    more = run(RunSpec(**small | {"n": 200}), machine).path
    assert more != folder  # other certificates are another row, of the same model
    assert more.name.rpartition("-")[0] == folder.name.rpartition("-")[0]
    copied = records_file(more, "accuracy")
    assert copied.read_bytes() == (folder / copied.name).read_bytes()


def test_the_row_keeps_what_is_not_asked_for(tmp_path: Path) -> None:
    machine = Machine(runs=tmp_path, track=False)
    own = {"method": "baseline", "dataset": "digits", "profile": "demo", "epochs": 1, "n": 100, "images": 12}
    run(RunSpec(**own, protocols="certify,lbound", **{"lbound.draws": 30, "lbound.images": 5}), machine)
    folder = run(RunSpec(**own, protocols="certify"), machine).path
    result = Result.from_file(folder / "result.json")
    assert result.protocols == ["certify", "lbound"]
    assert result.metric("averaging.draws") == 30
    assert read_spec(folder).lbound.images == 5


def test_defaults_are_those_that_the_versions_stand_for() -> None:
    """A default is not part of a digest: whoever changes one has to raise the protocol's version, and this list."""
    assert {name: PROTOCOLS.get(name).version for name in PROTOCOLS.builtin} == dict.fromkeys(PROTOCOLS.builtin, 1) | {
        "audit": 2
    }
    defaults = {
        f"{name}.{field}": info.default
        for name, kind in ({"training": Training} | section_types()).items()
        for field, info in kind.model_fields.items()
        if not info.is_required()
    }
    assert defaults == {
        "training.schedule": "cosine", "training.milestones": (), "training.factor": 0.1, "training.momentum": 0.9,
        "training.optimizer": "sgd", "training.nesterov": True, "training.weight_decay": 5e-4,
        "training.decay_biases": True, "training.clip": None, "training.augmentation": "default",
        "training.smallest_crop": 0.08, "training.precision": "fp32", "certify.kind": "vote", "certify.deployed": None,
        "certify.n0": 100, "certify.n": 10_000, "certify.alpha": 0.001, "certify.images": 1_000, "certify.every": 1,
        "certify.top": 1, "certify.sampling": "fixed", "certify.radii": (), "certify.noise": "gaussian",
        "certify.precision": "fp32", "lbound.images": 1_000, "lbound.draws": 1_000, "attack.images": 1_000,
        "attack.steps": 20, "attack.best_steps": 25, "attack.max_norm": 4.0, "attack.draws": 100, "timing.repeats": 20,
        "timing.batch": 128, "agreement.images": 1_000, "agreement.n": 100, "agreement.alpha": 0.001,
        "agreement.against": None, "audit.images": 200, "audit.restarts": 5, "audit.steps": 50, "audit.draws": 32,
        "audit.n": 1_000, "audit.queries": 5_000,
        "audit.searches": ("pgd", "ddn", "fmn", "apgd-ce", "apgd-t", "hopskipjump"),
    }  # fmt: skip


def test_a_stored_spec_is_read_strictly() -> None:
    spec = RunSpec(**TINY)
    stored = json.loads(json.dumps(spec.to_json()))
    assert RunSpec.from_json(stored) == spec
    for wrong in (
        stored | {"schema": 99},
        stored | {"kappa": 3},
        stored | {"certify": stored["certify"] | {"patience": 1}},
        {name: value for name, value in stored.items() if name != "training"},
        stored | {"seed": -1},
    ):
        with pytest.raises(UserError):
            RunSpec.from_json(wrong)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    return unpack_store("schema3", tmp_path)


def test_a_store_of_the_version_before_is_read_as_it_is(earlier: Path) -> None:
    [row] = [row for _, row in table("digits", earlier, published=None).iterrows()]
    stored = json.loads((earlier / EARLIER_RUN / "result.json").read_text())
    assert (row["run_id"], row["deployed"], row["sampling"]) == (EARLIER_RUN, "pass", "fixed")
    assert (row["acr"], row["pgd"]) == (stored["acr"], stored["attack"]["pgd"]["median"])
    assert len(row_records(row, earlier)) == 12
    assert read_spec(earlier / EARLIER_RUN).certify.n == 100


@pytest.mark.slow
def test_a_store_of_the_version_before_goes_on(earlier: Path) -> None:
    before = {file.name.partition(".")[0]: file.read_bytes() for file in (earlier / EARLIER_RUN).glob("*.jsonl")}
    stored = json.loads((earlier / EARLIER_RUN / "result.json").read_text())
    folder = run(RunSpec(**TINY), Machine(runs=earlier, track=False)).path
    assert not (earlier / EARLIER_RUN).exists()
    assert {name: records_file(folder, name).read_bytes() for name in before} == before  # nothing is measured again
    now = json.loads((folder / "result.json").read_text())
    del now["lbound"]["certified_accuracy"], now["lbound"]["probit"]["certified_accuracy"]  # which came later
    for name in ("acr", "certified_accuracy", "attack", "lbound", "averaging", "agreement", "audit", "clean_accuracy"):
        assert now[name] == stored[name], name
    assert json.loads((folder / "environment.json").read_text())["formerly"] == EARLIER_RUN
    assert len(before) == 7


def test_migrating_twice_or_from_the_middle_changes_nothing_more(earlier: Path) -> None:
    migrate(earlier)
    once = {file.relative_to(earlier): file.read_bytes() for file in earlier.rglob("*.json*")}
    assert not list(earlier.glob(f"{EARLIER_RUN}*"))
    migrate(earlier)
    assert {file.relative_to(earlier): file.read_bytes() for file in earlier.rglob("*.json*")} == once
    [folder] = earlier.glob("heat-*")
    folder.replace(earlier / EARLIER_RUN)  # as if it had been killed before the last step
    migrate(earlier)
    assert {file.relative_to(earlier): file.read_bytes() for file in earlier.rglob("*.json*")} == once


def test_rows_of_the_earlier_rule_are_read_and_left_alone(tmp_path: Path) -> None:
    """By the paired differences of their records smoothadv, which leads, can't be told from two others."""
    frame = table("cifar10", unpack_store("earlier-rule", tmp_path), published=None)
    assert set(frame["sampling"]) == {EARLIER}
    ranks = dict(zip(frame["method"], zip(frame["best_rank"], frame["worst_rank"], strict=True), strict=True))
    assert (len(frame), ranks["smoothadv"], ranks["baseline"]) == (4, (1, 3), (4, 4))
    assert frame["acr"].between(0.05, 0.15).all()
    folder = tmp_path / frame["run_id"].iloc[0]
    assert read_spec(folder).name != folder.name  # what this version would make with these settings is another run
