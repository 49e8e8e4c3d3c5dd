"""Identities, records and peers for the tables of the hub's rules."""

from dataclasses import replace

from mqttws.hub.service.access import Admitted
from mqttws.hub.service.decisions import Peer
from mqttws.hub.service.identity import Credentials, Identity
from mqttws.hub.service.records import Record
from mqttws.hub.service.requests import Names
from mqttws.hub.service.session import Session

HUB = "my-hub.azure-devices.net"
NOW = 1_800_000_000.0
PRIMARY, SECONDARY, OTHER = b"p" * 32, b"s" * 32, b"o" * 32

DEVICE = Identity("dev", credentials=Credentials("sas", (PRIMARY, SECONDARY)), generation_id="g1")
MODULE = replace(DEVICE, module_id="mod")
EVERYTHING = Session(
    kept=True,
    subscriptions={
        "$iothub/methods/POST/#": 0,
        "$iothub/twin/res/#": 1,
        "$iothub/twin/PATCH/properties/desired/#": 1,
        "devices/dev/messages/devicebound/#": 1,
    },
)


def names(module_id: str = "", api_version: str = "2021-04-12", model_id: str = "") -> Names:
    return Names(HUB, "dev", module_id, api_version, model_id)


def peer(identity: Identity = DEVICE, **changes: str) -> Peer:
    return Peer(names(identity.module_id, **changes), Admitted(identity, None, "{}"))


def record(session: Session = EVERYTHING) -> Record:
    return Record(DEVICE, session=session)
