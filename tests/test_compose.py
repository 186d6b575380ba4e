"""The cluster of containers in docs/compose.yaml: what its services run is there, and what it needs is documented."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "compose.yaml").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def services(**given: str) -> dict[str, Any]:
    """The services, with variables as Compose fills them in."""
    filled = VARIABLE.sub(lambda found: given.get(found[1]) or found[2], TEXT)
    assert "$" not in filled  # there is no variable that has to be given, so a worker alone needs no password
    found: dict[str, Any] = yaml.safe_load(filled)["services"]
    return found


def words(service: str, **given: str) -> list[str]:
    command = services(**given)[service]["command"]
    return command if isinstance(command, list) else shlex.split(command)


def test_every_variable_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    defaults = dict(VARIABLE.findall(TEXT))
    assert defaults == {"HEAD": "localhost", "PASSWORD": "", "DATA": "data", "RUNS": "runs"}
    assert set(re.findall(r"^\| `([A-Z]+)` \|", page, re.MULTILINE)) == set(defaults)


def test_ray_takes_the_commands_of_its_nodes() -> None:
    pytest.importorskip("ray")
    from ray.scripts.scripts import start

    for service, wanted in (
        ("head", {"head": True, "port": 6379, "num_cpus": 0}),
        ("worker", {"head": False, "address": "first:6379", "num_cpus": None}),
    ):
        program, verb, *options = words(service, HEAD="first")
        assert (program, verb) == ("ray", "start")
        given = start.make_context("start", options).params
        assert given["block"]
        assert {name: given[name] for name in wanted} == wanted


def test_mlflow_takes_the_command_of_its_server() -> None:
    pytest.importorskip("mlflow")
    from mlflow.cli import server

    program, verb, *options = words("mlflow", PASSWORD="secret")
    assert (program, verb) == ("mlflow", "server")
    given = server.make_context("server", options).params
    assert given["backend_store_uri"] == "postgresql+psycopg://suite:secret@postgres/mlflow"
    assert (given["host"], given["port"], given["allowed_hosts"]) == ("0.0.0.0", 5000, "*")


def test_the_program_of_the_proxy_calls_what_there_is() -> None:
    optuna = pytest.importorskip("optuna")
    python, flag, program = words("proxy", PASSWORD="secret")
    assert (python, flag) == ("python", "-c")
    imported, call = ast.parse(program).body
    assert isinstance(imported, ast.ImportFrom)
    assert imported.module == "optuna.storages"
    assert {each.name for each in imported.names} == {"get_storage", "run_grpc_proxy_server"}
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    names = inspect.signature(optuna.storages.run_grpc_proxy_server).parameters
    assert {word.arg for word in call.value.keywords} <= set(names)
    assert names["port"].default == 13000
    assert '"postgresql+psycopg://suite:secret@postgres/studies"' in program


def test_services_are_where_others_look_for_them() -> None:
    """Ray's nodes have the network of their machines, in which the names of other containers mean nothing."""
    found = services(HEAD="first")
    published = {port.split(":")[0] for each in found.values() for port in each.get("ports", ())}
    assert published == {"5432", "5000", "13000"}
    for service in ("head", "worker"):
        assert found[service]["network_mode"] == "host"
        assert found[service]["environment"]["MLFLOW_TRACKING_URI"] == "http://first:5000"
        assert not any(f"//{name}" in str(found[service]) or f"@{name}" in str(found[service]) for name in found)
    for service in ("mlflow", "proxy"):
        assert "network_mode" not in found[service]
        assert "postgres" in found[service]["depends_on"]
    top = yaml.safe_load(TEXT)
    mounted = {volume.split(":")[0] for each in found.values() for volume in each.get("volumes", ())}
    assert mounted == set(top["volumes"])
    sources = {config["source"] for each in found.values() for config in each.get("configs", ())}
    assert sources == set(top["configs"])
    databases = re.findall(r"CREATE DATABASE (\w+);", top["configs"]["databases"]["content"])
    assert databases == ["mlflow", "studies"]


def test_the_image_has_what_pip_installs_and_nothing_that_git_ignores() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    left_out = {line.removeprefix("**/") for line in lines if line and not line.startswith("#")}
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if not line.startswith("!")}
    assert ignored <= left_out
    needed = {"suite", "methods", "leaderboards", "app", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert all((ROOT / name).exists() for name in needed)
    assert not needed & left_out
