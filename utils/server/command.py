"""The command that serves the local page."""

import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from utils.demo_options import DemoOptions
from utils.errors import ResourceError, UserError
from utils.files import check_folder
from utils.server.options import ServeOptions

logger = logging.getLogger(__name__)

FOLDER = Path("served")  # of the uploads and results
ADVICE = "Ctrl-C stops; waiting videos go on at the next start"
INSTALL = "python -m pip install -r requirements-serve.txt"


def run_serve(
    serve: ServeOptions,
    options: DemoOptions,
    functions: tuple[Callable[..., Any], Callable[..., Any]],
    models: Sequence[str],
) -> int:
    """Serve the page until Ctrl-C; return the exit status.

    Args:
        serve: Where it is served.
        options: How uploaded videos are analysed.
        functions: Load the models and analyse a video, for the worker process.
        models: Networks that may be chosen.
    """
    try:
        from utils.server.app import make_app
        from utils.server.guard import Guard
        from utils.server.http_server import PageServer, listen, page_address
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise ResourceError(f"--serve needs the package {package}: {INSTALL}") from None
    from filelock import FileLock, Timeout

    from utils.server.jobs import JobStore
    from utils.server.runner import Runner, ServedWork

    folder = options.video.output_folder or FOLDER
    check_folder(folder)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"another server uses {folder}; choose another --outputFolder") from None
    with lock:
        store = JobStore(folder.absolute())
        runner = Runner(store, ServedWork(options, *functions))
        token = serve.token or ("" if serve.is_local else secrets.token_urlsafe(24))
        app = Guard(make_app(store, runner, models, serve.max_bytes), serve.host, token)
        with listen(serve.host, serve.port) as listener:
            address = page_address(serve.host, listener.getsockname()[1], token)
            print(f"open {address} ({ADVICE})", flush=True)
            PageServer(app, runner.stopping).run([listener])
    return 0
