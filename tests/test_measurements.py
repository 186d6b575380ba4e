"""L-bound, timing and agreement as a run goes through them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.cli import TINY
from helpers.known import digits_spec

from suite import Machine, RunSpec, run
from suite.store.records import read_records


@pytest.mark.slow
def test_a_run_has_their_figures_in_its_row_and_resumes_them(tmp_path: Path) -> None:
    stochastic = digits_spec("randomized-smoothing", epochs=1).model.model_dump(mode="json")
    spec = RunSpec(
        **TINY, protocols=("lbound", "timing", "agreement"),
        **{"lbound.images": 20, "lbound.draws": 50, "agreement.images": 20, "agreement.against": stochastic},
        **{"timing.batch": 4, "timing.repeats": 3, "n0": 10},
    )  # fmt: skip
    machine = Machine(runs=tmp_path, device="cpu", batch_size=64, track=False)
    folder = run(spec, machine)
    row = json.loads((folder.path / "result.json").read_text())
    assert row["protocols"] == ["certify", "lbound", "timing", "agreement"]
    assert row["lbound"]["images"] == row["agreement"]["images"] == 20
    assert 0 < row["lbound"]["mean"] <= row["lbound"]["max"] < 0.25 * 1.2534
    assert 0 < row["averaging"]["distance"] < 1
    assert row["agreement"]["own_given_correct"]["share"] > 0.5
    assert row["agreement"]["stochastic_given_correct"]["share"] > 0.5
    assert row["timing"]["certificate"] == row["seconds_per_certificate"]
    assert row["timing"]["ratio"]["full"] > 1
    assert {path.name.split("-digits")[0] for path in (tmp_path / "models").glob("[!.]*")} == {
        "baseline", "heat", "randomized-smoothing",
    }  # fmt: skip
    for name in ("lbound", "agreement"):
        file = folder.records_file(name)
        whole, content = read_records(file), file.read_text()
        file.write_text("".join(content.splitlines(keepends=True)[:7]) + '{"idx": 7, "la')
        run(spec, Machine(runs=tmp_path, device="cpu", batch_size=7, track=False))
        again = read_records(file)
        assert (again["predict"] == whole["predict"]).all()
        assert again.select_dtypes("float").sub(whole.select_dtypes("float")).abs().to_numpy().max(initial=0) < 1e-5
