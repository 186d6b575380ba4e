"""Commands that put a finished run, or a checkpoint, through a protocol: kinds, deployments, mistakes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
from helpers.cli import Cli
from helpers.known import records_file

from suite.networks import architectures


@pytest.mark.slow
def test_a_finished_run_goes_through_one_protocol_more_and_keeps_what_it_has(suite: Cli, finished: Path) -> None:
    [folder] = finished.glob("heat-*/")
    before = records_file(folder, "certify").read_bytes()
    small = ["--set", "images=5", "--set", "draws=20"]
    code, out, _ = suite("lbound", folder.name[:12], "--runs", str(finished), "--no-track", "--format", "json")
    assert code == 0
    row = json.loads(out)
    assert row["run_id"] == folder.name
    assert set(row["protocols"]) == {"accuracy", "certify", "lbound"}
    assert row["lbound"]["images"] == 100
    assert records_file(folder, "certify").read_bytes() == before
    code, out, _ = suite("lbound", folder.name, *small, "--runs", str(finished), "--no-track", "--format", "json")
    other = json.loads(out)
    assert (code, other["lbound"]["images"]) == (0, 5)
    assert other["run_id"] == row["run_id"]
    assert other["records"]["lbound"] != row["records"]["lbound"]  # those of other settings stand beside the first
    for result, images in ((row, 100), (other, 5)):
        assert (folder / result["records"]["lbound"]).read_text().count("\n") == images


def test_adaptive_certificates_of_a_finished_run(suite: Cli, finished: Path) -> None:
    [folder] = [file.parent for file in finished.glob("heat-*/certify-*.jsonl")]
    settings = ["--sampling", "adaptive", "--n", "2000", "--images", "4", "--radii", "0.1,0.2"]
    code, out, _ = suite("certify", str(folder), *settings, "--runs", str(finished), "--no-track", "--format", "json")
    row = json.loads(out)
    assert (code, row["sampling"], row["n"]) == (0, "adaptive", 2_000)
    assert row["draws"] < 2_000


def test_the_precision_of_certify_is_the_certificates_and_not_the_trainings(suite: Cli, finished: Path) -> None:
    [whole] = [file.parent.name for file in finished.glob("heat-*/accuracy-*.jsonl")]
    settings = ["--precision", "bf16", "--n", "50", "--images", "2"]
    code, out, err = suite("certify", whole, *settings, "--runs", str(finished), "--no-track", "--format", "json")
    assert code == 0, err
    assert (json.loads(out)["precision"], json.loads(out)["images"]) == ("bf16", 2)


def test_a_finished_run_is_deployed_otherwise(suite: Cli, finished: Path) -> None:
    """The vote of a model that was trained for a pass: another row, of the same model, whose certificate holds."""
    [whole] = [file.parent for file in finished.glob("heat-*/accuracy-*.jsonl")]
    place = ["--runs", str(finished), "--no-track", "--format", "json"]
    code, out, err = suite("certify", whole.name, "--deployed", "vote", "--images", "3", "--n0", "20", *place)
    assert code == 0, err
    row = json.loads(out)
    assert (row["deployed"], row["kind"], row["n0"]) == ("vote", "vote", 20)
    assert "the vote is what this row deploys" in row["claim"]
    assert Path(row["folder"]) != whole
    assert Path(row["folder"]).name.rpartition("-")[0] == whole.name.rpartition("-")[0]
    assert row["command"].startswith("suite run --method heat --dataset digits --profile demo --deployed vote ")
    code, out, err = suite("attack", Path(row["folder"]).name, "--images", "2", "--set", "steps=2", *place)
    assert code == 0, err
    assert json.loads(out)["deployed"] == "vote"


QUICKLY = {"certify": ["--n", "100"], "audit": ["--images", "2", "--set", "steps=2", "--set", 'searches=["pgd"]']}
NOISE = [
    (["--n", "500"], "n"), (["--n0", "50"], "n0"), (["--alpha", "0.01"], "alpha"), (["--radii", "0.1"], "radii"),
    (["--sampling", "fixed"], "sampling"), (["--noise", "discrete"], "noise"), (["--precision", "fp32"], "precision"),
    (["--set", "certify.n=500", "--set", "alpha=0.01"], "alpha and no n"),
    (["--kind", "margin", "--sigma", "0.1"], "sigma"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "missing"), NOISE)
def test_noise_is_not_asked_of_a_margin(suite: Cli, tmp_path: Path, asked: list[str], missing: str) -> None:
    line = ["run", "--method", "lipschitz", "--dataset", "digits", *asked, "--runs", str(tmp_path), "--no-track"]
    assert f"a margin has no {missing}: --kind vote --sigma 0.25" in suite.mistake(*line)
    assert list(tmp_path.iterdir()) == []


def test_a_lipschitz_checkpoint_with_noise_is_certified_as_a_vote(suite: Cli, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build = architectures.build("lipschitz-small-w8", 10, (1, 8, 8), (0.5,), (0.3,))
    torch.save(build.state_dict(), tmp_path / "mine.pt")
    line = ["certify", "--checkpoint", str(tmp_path / "mine.pt"), "--arch", "lipschitz-small-w8", "--dataset", "digits"]
    line += ["--images", "3", "--runs", str(tmp_path / "runs"), "--no-track", "--format", "json"]
    for noise, kind in (([], "margin"), (["--sigma", "0.25"], "vote")):
        code, out, err = suite(*line, *noise)
        assert code == 0, err
        row = json.loads(out)
        assert (row["kind"], row["sigma"]) == (kind, 0.25 if noise else None)
    words = shlex.split(row["command"])
    code, out, err = suite(*words[1:], *line[-5:])
    assert (code, json.loads(out)["run_id"]) == (0, row["run_id"]), err  # the row's command makes the same row


def test_a_lipschitz_run_has_margins_and_may_be_certified_as_a_vote(suite: Cli, tmp_path: Path) -> None:
    place = ["--runs", str(tmp_path), "--no-track", "--format", "json"]
    small = ["--arch", "lipschitz-small-w8", "--epochs", "0.2", "--images", "6"]
    code, out, err = suite("run", "--method", "lipschitz", "--dataset", "digits", *small, *place)
    assert code == 0, err
    row = json.loads(out)
    assert (row["kind"], row["deployed"], row["sigma"], row["n"]) == ("margin", "pass", None, None)
    for asked, kind, deployed in (
        (["--kind", "vote"], "vote", "pass"),
        (["--deployed", "vote"], "vote", "vote"),
        (["--deployed", "pass", "--images", "5"], "margin", "pass"),
    ):
        noise = ["--sigma", "0.1"] if kind == "vote" else []
        code, out, err = suite("certify", row["run_id"], *asked, *noise, *place)
        assert code == 0, err
        again = json.loads(out)
        assert (again["kind"], again["deployed"], again["sigma"]) == (kind, deployed, 0.1 if noise else None)
        assert again["n"] == (1_000 if noise else None)  # the profile's own
    assert "a vote needs its noise: --sigma 0.25" in suite.mistake("certify", row["run_id"], "--kind", "vote", *place)
    assert "lbound needs the noise of a vote" in suite.mistake("lbound", row["run_id"], *place)
    board = ["leaderboard", "digits", "--runs", str(tmp_path), "--format", "json"]
    kinds = [(row["kind"], row["holds"]) for row in json.loads(suite(*board)[1])["rows"]]
    assert sorted(kinds) == [("margin", True), ("margin", True), ("vote", False), ("vote", True)]
    titles = [
        line for line in suite("leaderboard", "digits", "--runs", str(tmp_path))[1].splitlines() if "Digits:" in line
    ]
    assert titles == [
        "Digits: σ = 0.1, top-1, 6 images, n = 1000, α = 0.001; margins have no noise",
        "Digits: top-1, 5 images, no noise",
    ]
    code, out, err = suite("certify", row["run_id"], *place[:3])
    assert "6 images, margin of one pass, no noise" in out, err
    for command in ("certify", "audit"):  # with noise it is a vote
        code, out, err = suite(command, row["run_id"], "--sigma", "0.2", *QUICKLY[command], *place)
        assert code == 0, err
        again = json.loads(out)
        assert (again["kind"], again["deployed"], again["sigma"]) == ("vote", "pass", 0.2)
        assert command in again["protocols"]
    for asked, missing in NOISE:
        said = suite.mistake("certify", row["run_id"], *asked, *place)
        assert f"a margin has no {missing}: --kind vote --sigma 0.25" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["attack", "nothing-like-it"], "there is no run 'nothing-like-it'"),
        (["attack"], "name a run, or a --checkpoint"),
        (["audit", "--checkpoint", "x.pt"], "needs --dataset"),
        (["certify", "--checkpoint", __file__, "--arch", "cnn", "--dataset", "digits"], "a vote needs its noise"),
        (["certify", "heat", "--kind", "margin"], "needs a network with a Lipschitz bound, and cnn has none"),
        (["certify", "heat", "--kind", "promise"], "kind: Input should be 'vote' or 'margin'"),
        (["certify", "heat", "--deployed", "votes"], "deployed: Input should be 'pass' or 'vote'"),
        (["certify", "heat", "--sigma", "0.5"], "was trained for sigma = 0.25: 'suite run --sigma 0.5'"),
        (["certify", "heat", "--sampling", "adaptive", "--n", "9"], "the smallest n that works is 10"),
        (["certify", "heat", "--set", "top=10"], "top-10 rule"),
        (["lbound", "heat", "--set", "drws=3"], "did you mean"),
    ],
)
def test_a_protocol_that_cannot_be_carried_out(suite: Cli, finished: Path, arguments: list[str], said: str) -> None:
    [whole] = [file.parent.name for file in finished.glob("heat-*/accuracy-*.jsonl")]
    arguments = [whole if argument == "heat" else argument for argument in arguments]
    assert said in suite.mistake(*arguments, "--runs", str(finished), "--no-track")


def test_a_run_whose_checkpoint_is_gone(suite: Cli, finished: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished, tmp_path / "runs")
    for file in (tmp_path / "runs").rglob("heat-*/model.safetensors"):
        file.unlink()
    [whole] = [f.parent for f in (tmp_path / "runs").glob("heat-*/accuracy-*.jsonl")]
    assert "is neither in its folder nor in" in suite.mistake(
        "attack", whole.name, "--runs", str(tmp_path / "runs"), "--no-track"
    )
