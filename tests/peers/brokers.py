"""Real brokers on free loopback ports, and nginx that ends TLS in front of one.

Each broker listens with four schemes (``ws``, ``mqtt``, ``wss``, ``mqtts``: attributes that hold
the ports), can be stopped and killed, and starts again on the same ports with what it has kept.
"""

import asyncio
import fcntl
import os
import signal
import subprocess
import venv
from pathlib import Path

from ..conftest import peer_missing, require_program
from ..net.rogue import Certificates
from ..ports import free_port

DEADLINE = 20.0
"""Seconds within which a program must listen, or have ended."""


class Stuck(Exception):
    """A program that answered nothing any more, and was killed."""


class Program:
    """A program that listens on ports; it can be stopped and started again on the same ones."""

    def __init__(
        self,
        command: list[str],
        ports: list[int],
        log: Path,
        environment: dict[str, str] | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self._command = command
        self._ports = ports
        self._log = log
        self._environment = environment
        self._deadline = deadline
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,  # a script's program ends with it
            )
        try:
            async with asyncio.timeout(self._deadline):
                for port in self._ports:
                    await self._listens(port)
        except TimeoutError:
            raise AssertionError(f"{self._command}: {self._log.read_text()}") from None

    @property
    def running(self) -> bool:
        return self._process is not None

    async def _listens(self, port: int) -> None:
        while True:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()
            if await listens(port):
                return
            await asyncio.sleep(0.02)

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """End the program; raise ``Stuck`` where it did not, and had to be killed."""
        if self._process is not None:
            os.killpg(self._process.pid, number)
            try:
                await asyncio.to_thread(self._process.wait, self._deadline)
            except subprocess.TimeoutExpired:
                self.kill()
                name = signal.Signals(number).name
                raise Stuck(f"did not end within {self._deadline:g} s of {name}") from None
            async with asyncio.timeout(self._deadline):
                for port in self._ports:  # a script may have ended before its program
                    while await listens(port):
                        await asyncio.sleep(0.02)
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(DEADLINE)
            self._process = None


async def listens(port: int) -> bool:
    """Return whether a connection to a loopback port is accepted."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


class Mosquitto(Program):
    """mosquitto, which keeps its sessions in a file when it is stopped in order.

    Attributes:
        outlived: whether sessions outlive a restart.
        raises: whether messages come at the QoS that was granted, though published at a lower one.
        forgets: whether a cut may cost what the broker has already taken over.
    """

    outlived = True
    raises = False
    forgets = False

    def __init__(self, folder: Path, pem: Path, window: int = 1000) -> None:
        self.ws, self.mqtt, self.wss, self.mqtts = (free_port() for _ in range(4))
        data = folder / "mosquitto"
        data.mkdir()
        config = folder / "mosquitto.conf"
        config.write_text(
            f"""user root
allow_anonymous true
persistence true
persistence_location {data}/
max_queued_messages 0
max_inflight_messages {window}
set_tcp_nodelay true
listener {self.ws} 127.0.0.1
protocol websockets
listener {self.mqtt} 127.0.0.1
listener {self.mqtts} 127.0.0.1
certfile {pem}
keyfile {pem}
listener {self.wss} 127.0.0.1
protocol websockets
certfile {pem}
keyfile {pem}
"""
        )
        super().__init__(
            [require_program("mosquitto"), "-c", str(config)],
            [self.mqtt, self.ws, self.mqtts, self.wss],
            folder / "mosquitto.log",
        )


class Nginx(Program):
    """nginx that speaks TLS and passes WebSockets on."""

    def __init__(self, folder: Path, pem: Path, target: int) -> None:
        self.wss = free_port()
        (folder / "nginx").mkdir()
        config = folder / "nginx.conf"
        config.write_text(
            f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx; proxy_temp_path {folder}/nginx;
  fastcgi_temp_path {folder}/nginx; uwsgi_temp_path {folder}/nginx;
  scgi_temp_path {folder}/nginx;
  server {{
    listen 127.0.0.1:{self.wss} ssl;
    ssl_certificate {pem}; ssl_certificate_key {pem};
    location / {{
      proxy_pass http://127.0.0.1:{target};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_read_timeout 60s;
    }}
  }}
}}
"""
        )
        super().__init__(
            [require_program("nginx"), "-c", str(config), "-p", str(folder)],
            [self.wss],
            folder / "nginx.log",
        )


class Amqtt(Program):
    """amqtt's broker, with sessions in memory.

    It wants a user name, any, and keeps messages only for those who have one.

    Attributes:
        outlived: as for mosquitto.
        raises: as for mosquitto; against [MQTT-3.8.4-6].
        forgets: as for mosquitto. What it has written to a link that is already dead is not sent
            again, a PUBREL that it does not expect gets no PUBCOMP, and a session that was cut in
            the middle of it may get no more messages (amqtt 0.12).
    """

    outlived = False
    raises = True
    forgets = True

    def __init__(self, folder: Path, python: Path, pem: Path) -> None:
        self.ws, self.mqtt, self.wss, self.mqtts = (free_port() for _ in range(4))
        tls = f"ssl: true, certfile: {pem}, keyfile: {pem}"
        config = folder / "amqtt.yaml"
        config.write_text(
            f"""listeners:
  default: {{type: tcp, bind: "127.0.0.1:{self.mqtt}"}}
  websocket: {{type: ws, bind: "127.0.0.1:{self.ws}"}}
  tls: {{type: tcp, bind: "127.0.0.1:{self.mqtts}", {tls}}}
  wss: {{type: ws, bind: "127.0.0.1:{self.wss}", {tls}}}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: false}}
"""
        )
        command = [str(python.with_name("amqtt")), "-c", str(config)]
        ports = [self.mqtt, self.ws, self.mqtts, self.wss]
        super().__init__(command, ports, folder / "amqtt.log")


class Aedes(Program):
    """aedes, with sessions in memory; it delivers a QoS 2 message when PUBREC is sent."""

    def __init__(self, folder: Path, modules: Path, pem: Path) -> None:
        self.ws, self.mqtt, self.wss, self.mqtts = (free_port() for _ in range(4))
        ports = [self.ws, self.mqtt, self.wss, self.mqtts]
        script = str(Path(__file__).with_name("aedes_broker.js"))
        super().__init__(
            [require_program("node"), script, *map(str, ports), str(pem)],
            ports,
            folder / "aedes.log",
            {**os.environ, "MQTTWS_NODE_MODULES": str(modules)},
        )


class RabbitMq(Program):
    """RabbitMQ with its MQTT plugins, in a node folder of its own and with an epmd of its own.

    Its queues outlive a restart. Before 4.x a QoS 2 publish is answered with PUBACK, and a
    subscription at QoS 2 is granted QoS 1.
    """

    def __init__(self, folder: Path, pem: Path) -> None:
        self.ws, self.mqtt, self.wss, self.mqtts = (free_port() for _ in range(4))
        home = folder / "rabbitmq"
        home.mkdir()
        (home / "enabled_plugins").write_text("[rabbitmq_mqtt,rabbitmq_web_mqtt].\n")
        epmd, amqp, distribution = (free_port() for _ in range(3))
        (home / "rabbitmq.conf").write_text(
            f"""listeners.tcp.1 = 127.0.0.1:{amqp}
mqtt.listeners.tcp.1 = 127.0.0.1:{self.mqtt}
mqtt.listeners.ssl.1 = 127.0.0.1:{self.mqtts}
mqtt.allow_anonymous = true
mqtt.default_user = guest
mqtt.default_pass = guest
mqtt.prefetch = 100
web_mqtt.tcp.ip = 127.0.0.1
web_mqtt.tcp.port = {self.ws}
web_mqtt.ws_path = /mqtt
web_mqtt.ssl.ip = 127.0.0.1
web_mqtt.ssl.port = {self.wss}
web_mqtt.ssl.certfile = {pem}
web_mqtt.ssl.keyfile = {pem}
web_mqtt.ssl.cacertfile = {pem}
ssl_options.certfile = {pem}
ssl_options.keyfile = {pem}
ssl_options.cacertfile = {pem}
ssl_options.verify = verify_none
loopback_users = none
vm_memory_high_watermark.relative = 0.8
disk_free_limit.absolute = 50MB
log.console = true
log.file = false
"""
        )
        environment = {
            **os.environ,
            "HOME": str(home),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_MAX_PORTS": "4096",
            "RABBITMQ_NODENAME": f"matrix{amqp}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_BASE": str(home),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }
        # /usr/sbin/rabbitmq-server would become another user, who cannot read the folder.
        server = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        if not server.exists():
            peer_missing("rabbitmq-server is not installed")
        self._names = Program(
            [require_program("epmd"), "-port", str(epmd), "-address", "127.0.0.1"],
            [epmd],
            folder / "epmd.log",
            environment,
        )
        super().__init__(
            [str(server)],
            [self.ws, self.mqtt, self.wss, self.mqtts],
            folder / "rabbitmq.log",
            environment,
            deadline=90.0,
        )

    async def start(self) -> None:
        if not self._names.running:
            await self._names.start()
        await super().start()

    def kill(self) -> None:
        super().kill()
        self._names.kill()


def node_modules() -> Path:
    """Return the folder in which npm has put what tests/sdk/package.json names."""
    given = os.environ.get("MQTTWS_NODE_MODULES")
    if given is None or not (Path(given) / "aedes").exists():
        peer_missing("MQTTWS_NODE_MODULES names no node_modules with aedes")
    assert given is not None
    return Path(given)


def amqtt_python(folder: Path) -> Path:
    """Return an interpreter that has amqtt, which needs a ``websockets`` of its own.

    Args:
        folder: where to make one, for all processes that run tests together.
    """
    if (given := os.environ.get("MQTTWS_AMQTT_PYTHON")) is not None:
        return Path(given)
    if os.environ.get("CI") != "true":
        peer_missing("MQTTWS_AMQTT_PYTHON names no interpreter with amqtt")
    home = folder / "amqtt"
    with (folder / "amqtt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the first makes it, the others wait
        if not (home / "bin/amqtt").exists():
            venv.create(home, with_pip=True)
            install = [str(home / "bin/python"), "-m", "pip", "install", "-q", "amqtt>=0.12"]
            subprocess.run(install, check=True, timeout=240)
    return home / "bin/python"


def server_pem(certificates: Certificates) -> Path:
    """Make a server's certificate and return the file with it and its key."""
    before = set(certificates.ca_file.parent.glob("server-*.pem"))
    certificates.server()
    (made,) = set(certificates.ca_file.parent.glob("server-*.pem")) - before
    return made
