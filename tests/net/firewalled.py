"""What runs inside a network namespace of its own: a device, its server, and nftables between them.

Each case is a function; ``python -m tests.net.firewalled NAME...`` runs some, as root, each in a
fresh namespace. The device is root; the proxies run as other users, so that a rule can tell them
apart.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from mqttws import (
    AsyncClient,
    AsyncLocalDps,
    ConnectFailed,
    Hop,
    Step,
    SymmetricKey,
    TlsConfig,
    diagnose_async,
    provision_async,
)
from mqttws.hops import Party
from mqttws.local.certificates import prepare_certificates

from ..peers import programs

NAME = "dps.test"
SYN = "tcp flags & (syn | ack) == syn"
"""A connection's first packet."""


def firewall(*rules: str) -> None:
    """Set the rules for what is sent; names of counters are made as they are used."""
    names = sorted({word for rule in rules for word in _counters(rule)})
    made = "".join(f"counter {name} {{ }}\n" for name in names)
    text = (
        "table inet test\ndelete table inet test\n"
        f"table inet test {{\n{made}chain out {{\n type filter hook output priority 0;\n"
        + "\n".join(rules)
        + "\n}\n}\n"
    )
    subprocess.run([NFT, "-f", "-"], input=text, text=True, check=True)


def _counters(rule: str) -> list[str]:
    words = rule.split()
    return [words[i + 2] for i, word in enumerate(words) if words[i : i + 2] == ["counter", "name"]]


def counted(name: str) -> int:
    """Return how many packets a counter has seen."""
    listed = subprocess.run(
        [NFT, "-j", "list", "counter", "inet", "test", name], capture_output=True, check=True
    )
    found = [part["counter"] for part in json.loads(listed.stdout)["nftables"] if "counter" in part]
    return int(found[0]["packets"])


NFT = "/usr/sbin/nft"

ONLY = (
    # What the device may open; whatever else it tries is counted, and lost.
    f"meta skuid 0 {SYN} tcp dport {{ports}} counter name allowed accept",
    f"meta skuid 0 {SYN} counter name forbidden drop",
    "meta skuid 0 udp dport 53 counter name forbidden drop",
)


def only(*ports: int) -> list[str]:
    listed = "{ " + ", ".join(map(str, ports)) + " }"
    return [rule.replace("{ports}", listed) for rule in ONLY]


@asynccontextmanager
async def service(**options: object) -> AsyncIterator[tuple[AsyncLocalDps, str]]:
    """Run a local DPS on the ports of the real one; also return a device's key."""
    with tempfile.TemporaryDirectory() as state:
        prepare_certificates(
            Path(state), (NAME, "127.0.0.1", "::1", "both.test", os.uname().nodename)
        )
        options = {"wss_port": 443, "mqtts_port": 8883, **options}
        async with AsyncLocalDps(state=state, retry_after=0, **options) as dps:
            yield dps, await dps.enroll_device("my-device")


async def provision(
    dps: AsyncLocalDps, key: str, host: str = "127.0.0.1", **options: object
) -> float:
    """Provision the device; return the seconds that it took."""
    began = time.monotonic()
    assigned = await provision_async(
        dps.id_scope,
        SymmetricKey("my-device", key),
        host=host,
        tls=TlsConfig(ca=dps.ca_file),
        **options,
    )
    assert assigned.device_id == "my-device"
    return time.monotonic() - began


@contextmanager
def names(**hosts: str) -> Iterator[None]:
    """Run what is started inside with a hosts file of its own; we keep ours."""
    with tempfile.NamedTemporaryFile("w", suffix=".hosts") as file:
        file.writelines(f"{address} {name}\n" for name, address in hosts.items())
        file.flush()
        os.chmod(file.name, 0o644)
        before = programs.PREFIX
        programs.PREFIX = [
            *("unshare", "--mount", "sh", "-c"),
            f'mount --bind {file.name} /etc/hosts && exec "$@"',
            "sh",
        ]
        try:
            yield
        finally:
            programs.PREFIX = before


async def failure(attempt: Awaitable[object]) -> ConnectFailed:
    """Return the error in which an attempt ends."""
    try:
        await attempt
    except ConnectFailed as error:
        return error
    raise AssertionError("the way was open")


async def direct_443() -> None:
    """Nothing but 443 is allowed out, and nothing else is tried."""
    async with service() as (dps, key):
        firewall(*only(443))
        await provision(dps, key)
        assert counted("allowed") >= 1
        assert counted("forbidden") == 0


async def direct_8883_is_caught() -> None:
    """The rules do catch what is not allowed."""
    async with service() as (dps, key):
        firewall(*only(443))
        error = await failure(provision(dps, key, transport="mqtts", hop_timeout=0.5, timeout=1.0))
        assert error.hop is Hop.TCP
        assert counted("forbidden") >= 1


async def http_proxy() -> None:
    """Only the proxy is reached; the name is resolved there."""
    async with service() as (dps, key):
        with programs.squid(hosts={NAME: "127.0.0.1"}) as squid:
            firewall(*only(squid.port))
            await provision(dps, key, NAME, proxy=f"http://127.0.0.1:{squid.port}")
            assert counted("allowed") >= 1
            assert counted("forbidden") == 0
            await squid.wait_for_log(f"CONNECT {NAME}:443")


async def socks5h_proxy() -> None:
    """Only the SOCKS proxy is reached; the name is resolved there."""
    async with service() as (dps, key):
        with names(**{NAME: "127.0.0.1"}), programs.dante() as dante:
            firewall(*only(dante.port))
            await provision(dps, key, NAME, proxy=f"socks5h://127.0.0.1:{dante.port}")
            assert counted("allowed") >= 1
            assert counted("forbidden") == 0
            await dante.wait_for_log(f"ATYP: 3 address: {NAME}.443")


DROP = "{syn} tcp dport {port} counter name port{port} drop"
REJECT = "{syn} tcp dport {port} counter name port{port} reject with tcp reset"
COUNT = "{syn} tcp dport {port} counter name port{port} accept"


async def _auto(rule: str, shut: int, limit: float) -> None:
    open_port = 443 if shut == 8883 else 8883
    async with service() as (dps, key):
        firewall(
            rule.format(syn=SYN, port=shut),
            COUNT.format(syn=SYN, port=open_port),
        )
        steps: list[Step] = []
        took = await provision(
            dps,
            key,
            transport="auto",
            on_step=lambda step: steps.append(step) if step.ended is not None else None,
        )
        assert took < limit, took
        assert all(step.error is None for step in steps)
        assert [step.hop for step in steps].count(Hop.TCP) == 1
        before = counted(f"port{shut}")
        assert (before > 0) or shut == 443
        again = await provision(dps, key, transport="auto")
        assert again < limit
        assert counted(f"port{shut}") == before, "the way that worked is not remembered"
        assert counted(f"port{open_port}") >= 2


async def auto_8883_dropped() -> None:
    await _auto(DROP, 8883, 5.0)


async def auto_8883_rejected() -> None:
    await _auto(REJECT, 8883, 5.0)


async def auto_443_dropped() -> None:
    await _auto(DROP, 443, 5.0)


async def auto_443_rejected() -> None:
    await _auto(REJECT, 443, 5.0)


async def auto_both_dropped() -> None:
    """Both are tried at once, and both are told."""
    async with service() as (dps, key):
        firewall(DROP.format(syn=SYN, port=443), DROP.format(syn=SYN, port=8883))
        began = time.monotonic()
        error = await failure(provision(dps, key, transport="auto", hop_timeout=2.0, timeout=2.0))
        assert error.hop is Hop.TCP
        assert "also tried" in error.hint
        assert time.monotonic() - began < 3.9


async def auto_is_remembered_by_the_client() -> None:
    async with service() as (dps, _):
        firewall(DROP.format(syn=SYN, port=8883), COUNT.format(syn=SYN, port=443))
        client = AsyncClient(
            ["mqtts://127.0.0.1", "wss://127.0.0.1/"], tls=TlsConfig(ca=dps.ca_file)
        )
        assert client.url == "mqtts://127.0.0.1:8883"
        seen = []
        for _ in range(2):
            error = await failure(client.connect())
            assert error.hop is Hop.CONNECT  # it is nobody whom the service knows
            assert client.url == "wss://127.0.0.1:443/"
            seen.append(counted("port8883"))
        assert seen[0] == seen[1]


async def _both_families(dead: str, listens: str) -> None:
    with names_here("::1 both.test\n127.0.0.1 both.test\n"):
        async with service(host=listens) as (dps, key):
            protocol = "ip6 nexthdr tcp" if dead == "::1" else "ip protocol tcp"
            firewall(f"{protocol} {SYN} tcp dport 443 counter name dead drop")
            took = await provision(dps, key, "both.test")
            assert took < 3.0, took
            if dead == "::1":
                assert counted("dead") >= 1


def unshare(what: int) -> None:
    """Have this process leave its namespace for a new one; sched.h has the kinds."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(what) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


@contextmanager
def names_here(text: str) -> Iterator[None]:
    """Have this process resolve by another hosts file, in a mount namespace of its own."""
    unshare(0x00020000)  # CLONE_NEWNS
    with tempfile.NamedTemporaryFile("w", suffix=".hosts") as file:
        file.write(text)
        file.flush()
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "--bind", file.name, "/etc/hosts"], check=True)
        yield


async def ipv6_is_dead() -> None:
    await _both_families("::1", "127.0.0.1")


async def ipv4_is_dead() -> None:
    await _both_families("127.0.0.1", "::1")


async def doctor_port_dropped() -> None:
    async with service() as (dps, _):
        firewall(DROP.format(syn=SYN, port=443))
        report = await diagnose_async(
            "127.0.0.1", tls=TlsConfig(ca=dps.ca_file), hop_timeout=1.0, proxy=None
        )
        assert (report.hop, report.party) == (Hop.TCP, Party.NETWORK), report.to_json()
        assert "8883" in report.advice[0]
        assert "blocked" in report.because
        assert counted("port443") >= 1


async def doctor_port_rejected() -> None:
    async with service() as (dps, _):
        firewall(REJECT.format(syn=SYN, port=443))
        report = await diagnose_async("127.0.0.1", tls=TlsConfig(ca=dps.ca_file), proxy=None)
        assert (report.hop, report.party) == (Hop.TCP, Party.NETWORK), report.to_json()
        assert "8883" in report.advice[0]


async def doctor_all_ports_dropped() -> None:
    async with service() as (dps, _):
        firewall(DROP.format(syn=SYN, port=443), DROP.format(syn=SYN, port=8883))
        report = await diagnose_async(
            "127.0.0.1", tls=TlsConfig(ca=dps.ca_file), hop_timeout=1.0, proxy=None
        )
        assert (report.hop, report.party) == (Hop.TCP, Party.NETWORK), report.to_json()
        assert not any(other.works for other in report.alternatives)


async def doctor_behind_a_proxy_that_alone_is_reached() -> None:
    """A direct way that is shut is no alarm behind a proxy."""
    async with service() as (dps, _):
        with programs.squid() as squid:
            firewall(*only(squid.port))
            report = await diagnose_async(
                "127.0.0.1",
                tls=TlsConfig(ca=dps.ca_file),
                proxy=f"http://127.0.0.1:{squid.port}",
            )
            assert report.ok, report.to_json()
            assert counted("forbidden") == 0


CASES = [
    direct_443,
    direct_8883_is_caught,
    http_proxy,
    socks5h_proxy,
    auto_8883_dropped,
    auto_8883_rejected,
    auto_443_dropped,
    auto_443_rejected,
    auto_both_dropped,
    auto_is_remembered_by_the_client,
    ipv6_is_dead,
    ipv4_is_dead,
    doctor_port_dropped,
    doctor_port_rejected,
    doctor_all_ports_dropped,
    doctor_behind_a_proxy_that_alone_is_reached,
]


def loopback_up() -> None:
    """Bring the loopback interface up: SIOCSIFFLAGS, linux/sockios.h."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))


def passes(case: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    """Run a case in a process and a namespace of its own; what goes wrong is written on stderr."""
    child = os.fork()
    if not child:
        code = 1
        try:
            unshare(0x40000000)  # CLONE_NEWNET
            loopback_up()
            asyncio.run(case())
            code = 0
        except BaseException:
            print(f"{case.__name__}:", file=sys.stderr)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    wanted = [case for case in CASES if case.__name__ in sys.argv[1:]]
    failed = [case.__name__ for case in wanted if not passes(case)]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
