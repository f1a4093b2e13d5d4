"""`python3 -m ml_target healthcheck`: asks the worker of this machine or container whether it is ready."""

import argparse
import http.client

from ml_target.config import Settings, own_host
from ml_target.errors import SettingsError
from ml_target.remedies import command

TIMEOUT_S = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds none."""
    parser.description = run.__doc__
    parser.epilog = "It uses IMMICH_HOST and IMMICH_PORT, as the worker does; there are no other options."


def run(arguments: argparse.Namespace) -> int:
    """Prints what /ping says. Exit code 0 when the worker is ready, 1 when it is not, or cannot be reached."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(error)
        return 1
    # Without a proxy: HTTP_PROXY is for the internet.
    connection = http.client.HTTPConnection(own_host(settings), settings.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/ping")
        answer = connection.getresponse()
        print(answer.read().decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as error:
        where = f"{connection.host} port {settings.port}"
        print(f"no answer on {where}: {error}. If a worker runs, its log says why; else {command('doctor')} may.")
        return 1
    finally:
        connection.close()
    return 0 if answer.status == http.client.OK else 1
