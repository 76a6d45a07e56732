"""From the configuration to a page that is being served."""

from __future__ import annotations

import errno
import logging
import socket
import webbrowser

import uvicorn

from air.demo.config import DemoConfig
from air.demo.server import build_app
from air.errors import ConfigError
from air.runs.trained import open_run

log = logging.getLogger(__name__)

_LAST_REQUESTS = 2  # seconds that they have, after Ctrl-C


def serve(config: DemoConfig) -> None:
    """Serve the page until the process is interrupted.

    Args:
        config: which run, and where.

    Raises:
        AIRError: the run cannot be opened, or the address cannot be used.
        KeyboardInterrupt: Ctrl-C; the server has been shut down.
    """
    run = open_run(config.run, config.which)
    with listening(config) as connection:
        app = build_app(run, config)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_LAST_REQUESTS)
        )
        url = f"http://{config.host}:{connection.getsockname()[1]}"
        print(url, flush=True)
        log.info("run %s at iteration %d; stop with Ctrl-C", config.run, run.iteration)
        if config.open_browser:
            webbrowser.open(url)
        server.run(sockets=[connection])


def listening(config: DemoConfig) -> socket.socket:
    """Return a socket at the address, which already takes connections.

    Raises:
        ConfigError: the port is in use or not allowed, or the host is not of this machine.
    """
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # just stopped: start again
    try:
        connection.bind((config.host, config.port))
        connection.listen()
    except OSError as error:
        connection.close()
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(
                f"host: must be an IPv4 address of this machine, got {config.host!r} "
                f"({error.strerror})"
            ) from None
        raise ConfigError(
            f"port: {config.port} on {config.host} cannot be used ({error.strerror}); "
            "choose another, or port=0 for any free one"
        ) from None
    return connection
