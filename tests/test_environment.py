"""What is written down of where a run was made."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from suite.store import environment


def commit_of(file: Path) -> str | None:
    """What the code says of its commit where it lies at `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(str(environment.__file__), file)
    spec = spec_from_file_location("elsewhere", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: str | None = module.commit()
    return found


def test_the_commit_is_that_of_the_code_and_not_of_a_project_that_it_is_installed_in(tmp_path: Path) -> None:
    assert commit_of(tmp_path / "nowhere" / "environment.py") is None
    project = tmp_path / "project"

    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.test"]
        return subprocess.run(
            ["git", *who, "-C", str(project), *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    project.mkdir()
    git("init", "-q")
    (project / ".gitignore").write_text(".venv\n")
    own = project / "own.py"
    shutil.copy(str(environment.__file__), own)
    git("add", ".")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert commit_of(own) == head
    assert commit_of(project / ".venv" / "lib" / "environment.py") is None
    (project / ".gitignore").write_text(".venv\n\n")
    assert commit_of(own) == f"{head}-dirty"
