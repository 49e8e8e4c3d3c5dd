"""MQTT 3.1.1 connections without I/O: bytes and seconds in, events and bytes out.

No sockets, no threads, no clock, no randomness. ``ClientProtocol`` and ``ServerProtocol`` are each
other's mirror; a driver joins one of them to a transport.
"""

from .client import ClientProtocol
from .endpoint import Endpoint, State
from .events import (
    AnswerIgnored,
    Connected,
    ConnectionClosed,
    ConnectReceived,
    ConnectRejected,
    Event,
    MessageDiscarded,
    MessageReceived,
    PublishCompleted,
    PublishRestarted,
    RequestFailed,
    SubscribeCompleted,
    SubscribeReceived,
    UnsubscribeCompleted,
    UnsubscribeReceived,
    WillDue,
)
from .inflight import Change, Session
from .server import ServerProtocol

__all__ = [
    "ClientProtocol",
    "ServerProtocol",
    "Endpoint",
    "State",
    "Session",
    "Change",
    "Event",
    "Connected",
    "ConnectRejected",
    "MessageReceived",
    "MessageDiscarded",
    "PublishCompleted",
    "PublishRestarted",
    "AnswerIgnored",
    "RequestFailed",
    "SubscribeCompleted",
    "UnsubscribeCompleted",
    "ConnectionClosed",
    "ConnectReceived",
    "SubscribeReceived",
    "UnsubscribeReceived",
    "WillDue",
]
