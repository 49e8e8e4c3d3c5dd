"""AsyncLocalDps: the Device Provisioning Service as a program on this machine.

Joins the pure service (``dps.service``) to TLS, WebSocket and MQTT. Two ports, WSS and MQTT over
TLS, feed one service object; nothing behind a port knows which it was. There is no plain one.
"""

import asyncio
import os
import random
import re
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

from ..dps.directory import Directory
from ..dps.issuance import CredentialPolicy
from ..dps.service import Service
from ..dps.settings import Settings
from ..dps.store import Store
from ..dps.tables import AnyEnrollment
from ..errors import UsageError, store_failed
from ..hub.service.access import Policy
from ..loop_thread import AsyncOnly
from ..net.tls import TlsConfig
from ..options import LOCAL_DPS, POLICY, RESTART
from .certificates import prepare_certificates
from .chains import EnrolledChains
from .clock import StoreClock
from .dps_calls import DpsCalls
from .dps_policies import OWNER, load_dps_policies
from .dps_tls import DpsTls
from .enrollments import Enrollments
from .front import FrontEnd
from .handed import Handed
from .http_door import HttpDoor, HttpService
from .ids import operation_ids, tracking_ids
from .issuing import IssuingCa, policies_by_name
from .listening import Listener, resolve
from .orders import FaultOrders
from .peers import Peers
from .policies import connection_string
from .restarting import Restarts
from .stores import open_store
from .x509 import DeviceAuthority

DEFAULT_ID_SCOPE = "0ne00LOCAL"
DEFAULT_HUB = "local-hub.azure-devices.net"


class WayToDps(TypedDict):
    """The arguments of ``provision`` that lead to a local DPS."""

    host: str
    port: int
    tls: TlsConfig


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="mqttws-")
    except OSError as error:
        raise store_failed(
            f"no temporary folder can be made: {error.strerror}", error, hint="name one with state="
        ) from error


class AsyncLocalDps(DpsCalls, AsyncOnly):
    """A local DPS with real TLS and real credential checks.

    >>> async with mqttws.AsyncLocalDps() as dps:
    ...     key = await dps.enroll_device("my-device")
    ...     assignment = await mqttws.provision_async(
    ...         dps.id_scope,
    ...         mqttws.SymmetricKey("my-device", key),
    ...         host=dps.host,
    ...         port=dps.wss_port,
    ...         tls=mqttws.TlsConfig(ca=dps.ca_file),
    ...     )

    Args:
        host: the address to listen on; a name or address by which clients connect.
        wss_port: for MQTT over WebSocket; 0 takes a free one, None does not listen.
        mqtts_port: for MQTT over TLS; 0 takes a free one, None does not listen.
        state: folder for the CA and the server's certificate, kept and reused; None for a
            temporary one.
        id_scope: of this instance.
        enrollments: who may register; more can be added later. Records that hold something win:
            only ids that they have never held are added to them.
        first_enrollments: who may register where the records hold nothing yet.
        records: where enrollments and registrations live: a path for SQLite, ``postgresql://…``, or
            a store; None for memory.
        hubs: host names of the linked IoT hubs, or names and weights of the hashed allocation.
        retry_after: seconds that a device waits before its next poll.
        assigning_polls: how many polls are answered 202 before the final 200.
        registers_per_minute: of all devices together; more are answered 429; None for no limit.
        polls_per_10s: of each device; more are answered 429; None for no limit.
        lenient: whether bodies and api-versions that the real service refuses are served.
        credential_policies: by which certificates are issued; there always is one
            named ``default``, of 30 days and one intermediate CA.
        issuing_ca: a PEM file with the CA that issues them, those above it, and its key, not
            encrypted; None for a development CA, kept in ``state``.
        connection_profiles: ``connectionProfile`` of hubs, by host name, such as ``mqttV5``; served
            from api-version 2026-11-02-preview on.
        fault_seed: for the faults that strike at random; the same seed strikes the same requests.

    Attributes:
        store: where everything is kept.
        directory: enrollments and registrations in it.
        faults: what shall go wrong.
        clock: of the store.
        service: the rules over the store.
        issuing: the CA that issues certificates.
        tls: the server's side of TLS, for other services on this machine.
        enrollments: who may register.
        front: serves the connections of devices.
        http: the services that answer HTTP requests on the WebSocket's port.
        handed: listening sockets that another process has opened, to be used when it is started.
        policies: shared access policies of the service API; there once it is started.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        wss_port: int | None = 0,
        mqtts_port: int | None = 0,
        state: str | os.PathLike[str] | None = None,
        id_scope: str = DEFAULT_ID_SCOPE,
        enrollments: Sequence[AnyEnrollment] = (),
        first_enrollments: Sequence[AnyEnrollment] = (),
        records: str | os.PathLike[str] | Store | None = None,
        hubs: Sequence[str] | Mapping[str, int] = (DEFAULT_HUB,),
        retry_after: int = 3,
        assigning_polls: int = 0,
        registers_per_minute: int | None = None,
        polls_per_10s: int | None = None,
        lenient: bool = False,
        credential_policies: Sequence[CredentialPolicy] = (),
        issuing_ca: str | os.PathLike[str] | None = None,
        connection_profiles: Mapping[str, str] | None = None,
        fault_seed: int | None = None,
    ) -> None:
        LOCAL_DPS.check(locals())
        self.host = host
        self.wss_port = wss_port
        self.mqtts_port = mqtts_port
        self.id_scope = id_scope
        self._hub_names: tuple[str, ...] = tuple(hubs)
        settings = Settings.of(
            id_scope,
            hubs,
            retry_after=retry_after,
            assigning_polls=assigning_polls,
            registers_per_minute=registers_per_minute,
            polls_per_10s=polls_per_10s,
            lenient=lenient,
            policies=policies_by_name(credential_policies),
            profiles={hub.lower(): of for hub, of in (connection_profiles or {}).items()},
        )
        self.store: Store = open_store(records)
        chains = EnrolledChains()
        self.directory: Directory = Directory(self.store, chains)
        self.faults: FaultOrders = FaultOrders(self.store, random.Random(fault_seed).random)  # noqa: S311 - no secret
        self.clock: StoreClock = StoreClock(self.store)
        self.issuing: IssuingCa = IssuingCa(
            settings.policies, issuing_ca, self.faults.strike_chain, self.clock.now
        )
        self.service: Service = Service(
            settings,
            self.store,
            operation_ids=operation_ids(),
            tracking_ids=tracking_ids(),
            issuer=self.issuing,
            chains=chains,
        )
        self._state = state
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._ca_file: Path | None = None
        self.http: HttpDoor = HttpDoor()
        self._authorities: dict[str, DeviceAuthority] = {}
        self.front: FrontEnd = FrontEnd(
            self.service, self.faults, self.http, self.restart, self.clock
        )
        self._events = self.front.events
        self.tls: DpsTls = DpsTls(self.front.early.handshake)
        self.enrollments: Enrollments = Enrollments(self.directory, self._events)
        self.http.add(self._make_health_door)
        self.http.add(self._make_service_door)
        self.http.add(self._make_device_door)
        self.policies: list[Policy] = []
        self.handed: Handed = {}
        self._listener = Listener(self.tls, self.front.note_refused)
        self._restarts = Restarts(self._leave, self._listen)
        self._given = tuple(first_enrollments), tuple(enrollments)
        self._peers = Peers(self.store, self.clock, self.front.presence, self.faults.keep)

    @property
    def options(self) -> WayToDps:
        """The arguments of ``provision`` that lead here, over WebSocket; only its CA is trusted."""
        tls = TlsConfig(ca=self.ca_file, only_ca=True)
        return WayToDps(host=self.host, port=self.wss_port or 0, tls=tls)

    @property
    def ca_file(self) -> Path:
        """The CA certificate that clients must trust, a PEM file.

        Raises:
            UsageError: the service has not been started.
        """
        if self._ca_file is None:
            raise UsageError("the local DPS has not been started")
        return self._ca_file

    def service_connection_string(self, policy: str = OWNER) -> str:
        """Return the connection string of the service API, at the WebSocket's port.

        Args:
            policy: provisioningserviceowner, or ServiceConfig, EnrollmentRead, EnrollmentWrite,
                RegistrationStatusRead or RegistrationStatusWrite, which have that right alone.
        """
        POLICY.check(locals())
        return connection_string(self.host, self.wss_port, self.policies, policy)

    async def start(self) -> None:
        """Make or load the certificates and listen.

        Raises:
            UsageError: it has been started already, or has no port.
            ServiceFailed: a port is taken or may not be used.
            StoreFailed: the state folder or the records cannot be used.
            UnusableFile: the issuing CA that was given cannot be used.
        """
        if self._listener.listening:
            raise UsageError("the local DPS has been started already")
        if self.wss_port is None and self.mqtts_port is None:
            raise UsageError("the local DPS needs a port to listen on")
        await resolve(self.host)
        if self._state is None:
            self._temporary = _temporary_folder()
            folder = Path(self._temporary.name)
        else:
            folder = Path(self._state)
        try:
            # Devices come to the hub by its own name too, where a network or a proxy leads it here.
            names = (self.host, *own_names(), *self._hub_names)
            certificates = await asyncio.to_thread(prepare_certificates, folder, names)
            self._ca_file = certificates.ca_file
            self.tls.begin(folder, certificates, names)
            await asyncio.to_thread(self.issuing.begin, folder)
            await self.store.open()
            self.policies = await load_dps_policies(folder, self.store)
            await self.faults.begin()
            await self.enrollments.begin(*self._given)
            await self._peers.begin()
            await self._listen()
        except BaseException:
            await self.stop()
            raise

    async def _listen(self) -> None:
        self._listener.handed = self.handed
        if self.wss_port is not None:
            self.wss_port = await self._listener.listen(
                self.host,
                self.wss_port,
                "wss",
                self.front.take,
                websocket=True,
                http=self.front.take_http,
                before_upgrade=self.front.early.upgrade,
            )
        if self.mqtts_port is not None:
            self.mqtts_port = await self._listener.listen(
                self.host, self.mqtts_port, "mqtts", self.front.take, websocket=False
            )

    def restart(self, seconds: float) -> None:
        """Close every connection, and listen on the same ports again after ``seconds``.

        What has been recorded is kept. A restart that is under way already goes on.
        """
        RESTART.check(locals())
        self._restarts.begin(seconds)

    async def _leave(self) -> None:
        self.front.cut_all()
        await self._listener.stop()
        await self.http.stop()
        self.front.cut_all()

    async def stop(self) -> None:
        """Close every connection and stop listening; bounded in time."""
        await self._restarts.cancel()
        await self._listener.stop()
        await self.http.stop()
        await self._peers.stop()
        await self.front.stop()
        await self.store.close()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    def _make_health_door(self) -> HttpService:
        from .health import HealthDoor  # needs the extra

        return HealthDoor(self.store)

    def _make_service_door(self) -> HttpService:
        from .service_door import ServiceDoor  # needs the extra

        return ServiceDoor(self)

    def _make_device_door(self) -> HttpService:
        from .device_door import DeviceDoor  # needs the extra

        return DeviceDoor(self)


def own_names() -> list[str]:
    """Return the machine's name, if it is one that can stand in a certificate."""
    name = socket.gethostname()
    return [name] if re.fullmatch(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", name) else []
