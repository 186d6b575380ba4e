"""The command line in processes of its own, without the seconds that its imports take: forks of one that has them.

`python warm.py SOCKET [MODULE...]` is the server; `start` writes a script that has it carry out a command. Each command
has a process, a folder, an environment and the caller's standard streams of its own, and ends with its exit code: 137
where it was killed. With SUITE_CHAOS in its environment it kills itself at that moment (`helpers.chaos`).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENT = """#!{python} -IS
import json, os, socket, sys
there = socket.socket(socket.AF_UNIX)
there.connect({address!r})
said = json.dumps({{"words": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}}).encode()
socket.send_fds(there, [len(said).to_bytes(8, "big")], [0, 1, 2])
there.sendall(said)
sys.exit(int(there.recv(16) or b"137"))
"""


def serve(address: str, modules: list[str]) -> None:
    """Carry out commands until this process is killed."""
    for module in ("leaderboards.render.export", "leaderboards.render.terminal", *modules):
        import_module(module)
    from helpers.chaos import watched
    from suite.cli.main import main

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        there, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            carry_out(there, watched(main))
        there.close()


def carry_out(there: socket.socket, main: Callable[[], None]) -> None:
    """One command, in a process that ends with it."""
    length, streams, _, _ = socket.recv_fds(there, 8, 3)
    said = b""
    while len(said) < int.from_bytes(length, "big"):
        said += there.recv(1 << 16)
    asked = json.loads(said)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["suite", *asked["words"]]
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    code = 1
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    there.sendall(str(code).encode())
    os._exit(0)


def start(folder: Path, modules: Sequence[str] = ()) -> tuple[subprocess.Popen[bytes], Path]:
    """A server that has imported these modules, too, and the script `suite` that has it carry out commands."""
    address, script = folder / "socket", folder / "suite"
    server = subprocess.Popen(
        [sys.executable, __file__, str(address), *modules],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,  # which is no terminal, as the callers' are none
    )
    while not address.exists():
        assert server.poll() is None, "the server of warm commands ended"
        time.sleep(0.05)
    script.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return server, script


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
