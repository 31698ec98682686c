"""The command that serves the page."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from tests.verbs import run_verb


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "checkpoint=PATH is missing"),
        (["checkpoint=a.ckpt", "max_minutes=0"], "max_minutes=0: expected a number above 0"),
        (["checkpoint=a.ckpt", "max_upload_mb=many"], "max_upload_mb='many': expected a number from 0"),
        (["checkpoint=a.ckpt", "top=0"], "top=0: expected a whole number from 1"),
        (["checkpoint=a.ckpt", "port=70000"], "port=70000: expected a whole number from 0 to 65535"),
        (["checkpoint=a.ckpt", "names=studio"], "names='studio': expected a list of texts"),
        (["checkpoint=a.ckpt", "proxies=[nginx]"], "proxies="),
        (["checkpoint=a.ckpt", "proxies=10.0.0.2"], "proxies='10.0.0.2': expected a list of texts"),
        (["checkpoint=a.ckpt", "host=not.here.invalid", "port=0"], "host=not.here.invalid port=0 is not available"),
        (["checkpoint=a.ckpt", "port=0"], "checkpoint=a.ckpt does not exist"),
    ],
)
def test_bad_settings(settings: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_verb("app", *settings)
    assert stopped.value.code == 1
    assert message in capsys.readouterr().err


def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit):
            run_verb("app", "checkpoint=a.ckpt", f"port={port}")
    assert f"host=127.0.0.1 port={port} is not available: Address already in use" in capsys.readouterr().err


def test_without_its_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit):
        run_verb("app", "checkpoint=a.ckpt")
    assert "the page needs uvicorn: pip install 'artistid[app]'" in capsys.readouterr().err


def test_help_answers_without_torch() -> None:
    code = "import sys; sys.argv = ['app', '--help']\nfrom artistid.cli import command\ntry: command('app')\n"
    code += "finally: assert not {'torch', 'starlette', 'uvicorn'} & set(sys.modules), 'slow imports'"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "a web page that names the artist of a song" in " ".join(result.stdout.split())
