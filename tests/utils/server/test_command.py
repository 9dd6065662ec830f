"""The local page is not started where it cannot be, and says so on one line."""

import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock

from demoTalkNet import make_parser
from tests import made_served
from tests.made_served import served_command
from tests.programs import run_python
from utils.demo_options import DemoOptions
from utils.errors import ResourceError, UserError
from utils.flags import read_groups
from utils.server.command import run_serve
from utils.server.http_server import page_address
from utils.server.options import ServeOptions


def serve(folder: Path, **options: Any) -> int:
    steps = made_served.load_models, made_served.analyse
    parsed = make_parser().parse_args(["--outputFolder", str(folder)])
    demo = read_groups(parsed, DemoOptions)
    return run_serve(ServeOptions(serve=True, **options), demo, steps, made_served.MODELS)


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
from demoTalkNet import main
sys.exit(main(["--serve", "--port", "0", "--outputFolder", sys.argv[2]]))
"""


@pytest.mark.parametrize("package", ["uvicorn", "starlette"])
def test_a_missing_package_is_named(tmp_path: Path, package: str) -> None:
    done = run_python("-c", WITHOUT, package, tmp_path)
    assert done.returncode == 1
    install = "python -m pip install -r requirements-serve.txt"
    assert done.stderr == f"error: --serve needs the package {package}: {install}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_has_one_server(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(UserError, match="another server uses"):
        serve(tmp_path, port=0)


def test_a_port_has_one_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ResourceError, match=rf"^127.0.0.1:{port} cannot be used: Address"):
            serve(tmp_path, port=port)


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    message = r"^192.0.2.1:0 cannot be used: .*; choose another --port or --host$"
    with pytest.raises(ResourceError, match=message):
        serve(tmp_path, port=0, host="192.0.2.1")


@pytest.mark.slow
def test_beyond_this_machine_a_token_is_demanded(tmp_path: Path) -> None:
    with served_command(tmp_path, "--host", "0.0.0.0") as address:
        parts = re.fullmatch(r"http://.*:(\d+)/\?token=([\w-]{32})", address)
        assert parts, address
        port, token = parts.groups()
        here = f"http://127.0.0.1:{port}"
        found = [
            httpx.get(f"{here}/jobs").status_code,
            httpx.get(f"{here}/?token={token[::-1]}").status_code,
            httpx.get(f"{here}/?token={token}").status_code,
            httpx.get(f"{here}/jobs", headers={"Authorization": f"Bearer {token}"}).status_code,
        ]
        assert found == [401, 401, 303, 200]
        done = run_python("demoTalkNet.py", "--serve", "--port", "0", "--outputFolder", tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1 and "another server uses" in done.stderr


@pytest.mark.parametrize(
    ("host", "token", "address"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:8710/"),
        ("::1", "", "http://[::1]:8710/"),
        ("192.0.2.1", "x" * 16, "http://192.0.2.1:8710/?token=xxxxxxxxxxxxxxxx"),
        ("0.0.0.0", "x" * 16, f"http://{socket.gethostname()}:8710/?token=xxxxxxxxxxxxxxxx"),
    ],
)
def test_address(host: str, token: str, address: str) -> None:
    assert page_address(host, 8710, token) == address


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("a.example", False),
    ],
)
def test_which_addresses_need_a_token(host: str, local: bool) -> None:
    assert ServeOptions(host=host).is_local is local


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 65536}, "--port"),
        ({"max_upload": 0}, "--maxUpload"),
        ({"token": "short"}, "--token must have at least 16"),
        ({"token": "é" * 16}, "ASCII"),
    ],
    ids=str,
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ServeOptions(**options)
