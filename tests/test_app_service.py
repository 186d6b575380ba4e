"""`suite app` as a service: whom it answers, and what it says when it begins."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.serving import free_port, wait_until_served

pytest.importorskip("streamlit")
pytestmark = pytest.mark.slow


def test_a_page_of_another_name_gets_no_data(tmp_path: Path) -> None:
    """DNS rebinding: a name elsewhere that leads here, in a browser that has been to its page."""
    port = free_port()
    command = [sys.executable, "-m", "suite", "app", "--runs", str(tmp_path / "runs"), "--port", str(port)]
    environment = os.environ | {"STREAMLIT_SERVER_HEADLESS": "true"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until_served(port, server)
        own = f"127.0.0.1:{port}"
        assert b" 101 " in handshake(own, own)
        assert b" 101 " not in handshake(own, f"evil.example:{port}")
        assert b" 101 " not in handshake(own, own, origin="http://evil.example")
    finally:
        server.terminate()
        server.wait()


def handshake(server: str, host: str, origin: str = "") -> bytes:
    """The first line of what a server answers to a browser that asks for a page's data."""
    name, _, port = server.partition(":")
    with socket.create_connection((name, int(port)), timeout=10) as line:
        lines = ["GET /_stcore/stream HTTP/1.1", f"Host: {host}", f"Origin: {origin or f'http://{host}'}",
                 "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]  # fmt: skip
        line.sendall("\r\n".join(lines).encode())
        return line.recv(1024).split(b"\r\n")[0]


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_first_start_at_a_terminal_asks_nothing(tmp_path: Path) -> None:
    """A new home, a desktop's display and a real terminal: the address at once, pages, and no e-mail."""
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STREAMLIT_")}
    environment |= {"HOME": str(tmp_path), "DISPLAY": ":99", "BROWSER": "true"}
    own, other = os.openpty()
    command = [sys.executable, "-m", "suite", "app", "--runs", str(tmp_path / "runs"), "--port", str(port)]
    server = subprocess.Popen(command, env=environment, stdin=other, stdout=other, stderr=other, start_new_session=True)
    os.close(other)
    try:
        said = os.read(own, 4096).decode()
        assert f"http://127.0.0.1:{port}" in said  # the first that it says
        wait_until_served(port, server)
        said += "".join(iter(lambda: waiting(own), ""))
        assert "email" not in said.lower()
        assert "Streamlit" not in said
    finally:
        server.terminate()
        server.wait()
        os.close(own)


def waiting(terminal: int) -> str:
    """What a terminal has to read by now."""
    return os.read(terminal, 4096).decode() if select.select([terminal], [], [], 0.5)[0] else ""
