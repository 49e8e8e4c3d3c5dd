"""MQTT 3.1.1 connections without I/O: bytes and seconds in, events and bytes out.

No sockets, no threads, no clock, no randomness. ``ClientProtocol`` and ``ServerProtocol`` are each
other's mirror; a driver joins one of them to a transport.
"""

from .client import ClientProtocol
from .endpoint import Endpoint, State
from .events import (
    Connected,
    ConnectionClosed,
    ConnectReceived,
    ConnectRejected,
    Event,
    MessageReceived,
    PublishCompleted,
    SubscribeCompleted,
    SubscribeReceived,
    UnsubscribeCompleted,
    UnsubscribeReceived,
    WillDue,
)
from .inflight import Session
from .server import ServerProtocol

__all__ = [
    "ClientProtocol",
    "ServerProtocol",
    "Endpoint",
    "State",
    "Session",
    "Event",
    "Connected",
    "ConnectRejected",
    "MessageReceived",
    "PublishCompleted",
    "SubscribeCompleted",
    "UnsubscribeCompleted",
    "ConnectionClosed",
    "ConnectReceived",
    "SubscribeReceived",
    "UnsubscribeReceived",
    "WillDue",
]
