"""A started ``mqttws serve``: its addresses for a human and for a script, and the example device.

Knows paths, ports and the example device's key file. Does not know how the service is run.
"""

import importlib.util
import secrets
import shlex
import shutil
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mqttws

from ..dps.sas import decode_key
from ..errors import StoreDamaged, UnusableFile, UsageError, store_failed
from ..local.policies import EVERYWHERE
from ..provisioning.files import locked, replace_file
from .files import read_file, read_secret
from .output import print_line

if TYPE_CHECKING:
    from ..local.admin import AdminApi

EXAMPLE = "example-device"
"""Registration id of the device that is there where no FILE says who is."""


class AdminPlace:
    """The admin API's address, and the token that it demands."""

    def __init__(self, host: str, port: int, token_file: str | None) -> None:
        self._host = host
        self._port = port
        self._token = None
        if token_file is not None:
            self._token = read_secret(token_file, "admin token file").strip()
            if not self._token:
                raise UnusableFile(
                    f"the admin token file {token_file}: it is empty", file=token_file
                )
            if not self._token.isprintable():  # no header could bring it
                raise UnusableFile(
                    f"the admin token file {token_file}: allowed: one line", file=token_file
                )

    def api(self, dps: mqttws.AsyncLocalDps) -> "AdminApi":
        """Return the API, which has not been started."""
        from ..local.admin import AdminApi  # needs the extra

        return AdminApi(dps, host=self._host, port=self._port, token=self._token)


@dataclass(frozen=True)
class Place:
    """A started service's addresses, for a human and for a script."""

    dps: mqttws.AsyncLocalDps
    key_file: Path | None
    admin_url: str | None
    hub: Mapping[str, Any] | None = None

    @property
    def connection_string(self) -> str | None:
        """The service API's connection string; None without the extra that serves it."""
        served = importlib.util.find_spec("aiohttp") is not None
        return self.dps.service_connection_string() if served else None

    @property
    def command(self) -> str:
        """A shell's command line that provisions the example device."""
        options = {
            "--id-scope": self.dps.id_scope,
            "--registration-id": EXAMPLE,
            "--key-file": str(self.key_file),
            "--host": EVERYWHERE.get(self.dps.host, self.dps.host),
            "--port": str(self.dps.wss_port),
            "--ca": str(self.dps.ca_file),
        }
        pairs = [word for option in options.items() for word in option]
        return shlex.join([*_program(), "provision", *pairs])

    def to_json(self) -> dict[str, object]:
        """Return it for a script."""
        return {
            "status": "serving",
            "host": self.dps.host,
            "wss_port": self.dps.wss_port,
            "mqtts_port": self.dps.mqtts_port,
            "id_scope": self.dps.id_scope,
            "ca_file": str(self.dps.ca_file),
            "connection_string": self.connection_string,
            "admin": self.admin_url,
            "hub": self.hub,
            "example": None
            if self.key_file is None
            else {
                "registration_id": EXAMPLE,
                "key_file": str(self.key_file),
                "command": self.command,
            },
        }

    def print(self) -> None:
        """Print it for a human."""
        host = f"[{self.dps.host}]" if ":" in self.dps.host else self.dps.host
        print_line("The local DPS is ready; Ctrl-C ends it.", "bold")
        print_line(f"  wss       wss://{host}:{self.dps.wss_port}/$iothub/websocket")
        print_line(f"  mqtts     mqtts://{host}:{self.dps.mqtts_port}")
        print_line(f"  id scope  {self.dps.id_scope}")
        print_line(f"  trust     {self.dps.ca_file}")
        if self.connection_string is not None:
            print_line(
                "  service   its API, on the wss port, for service SDKs and 'az iot dps --login':"
            )
            print_line(f"            {self.connection_string}")
        if self.admin_url is not None:
            print_line(f"  admin     {self.admin_url}")
        if self.hub is not None:
            for name, text in self.hub["connection_strings"].items():
                print_line(f"  hub       {name}, its service API on the wss port:")
                print_line(f"            {text}")
        if self.key_file is not None:
            print_line(f"  device    {EXAMPLE}, its key in {self.key_file}")
            print_line()
            print_line("Provision it from another terminal:")
            print_line(self.command, "bold")


def _program() -> list[str]:
    """Return how this very program is called again from a shell."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return [sys.executable, "-m", "mqttws"]
    found = shutil.which(called.name)
    if found is not None and called.exists() and Path(found).samefile(called):
        return [called.name]
    return [str(called.absolute())]


def example_key(file: Path) -> str:
    """Return the example device's key from ``file``, which is made if it is not there.

    Raises:
        StoreFailed: the file cannot be made, or what is in it is no key.
        UnusableFile: it cannot be read.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(file.parent):  # of two that start at once, one makes it
            if not file.exists():
                replace_file(file, b64encode(secrets.token_bytes(64)) + b"\n")
    except OSError as error:
        raise store_failed(
            f"the state folder cannot be used: {file.parent}: {error.strerror}",
            error,
            hint="name another with --state",
        ) from error
    key = read_file(str(file), "the example device's key").strip()
    try:
        decode_key(key)
    except UsageError as error:
        fault = str(error)
    else:
        if not file.is_symlink():  # the target of a link is another one's
            file.chmod(0o600)
        return key
    raise StoreDamaged(f"{file}: {fault}", hint="remove the file: a new key is made then")
