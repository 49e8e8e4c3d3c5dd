"""Proof that the proofs can fail: 40 rules, drawn with a seed, each with its check broken.

``python -m tests.break_checks`` copies the tree, breaks one check at a time, runs the tests that
the matrix names for the rule, and prints what came of it. Every line must end in "noticed". A rule
that is drawn and has no entry in ``BREAKS`` is reported too.
"""

import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import conformance
from tests.conformance import LIBRARY, Rule

SEED = 311
DRAWN = 40
ROOT = Path(__file__).parents[1]

PACKETS = "wire/packets.py"
FRAMING = "wire/framing.py"
CLIENT = "protocol/client.py"
SERVER = "protocol/server.py"
ENDPOINT = "protocol/endpoint.py"
INFLIGHT = "protocol/inflight.py"
WEBSOCKET = "net/websocket.py"

IN_ORDER = (
    INFLIGHT,
    "while self._waiting and self._waiting[0].done:\n            yield self._waiting.popleft()",
    "for each in [each for each in self._waiting if each.done]:\n"
    "            self._waiting.remove(each)\n            yield each",
)
ANY_ANSWER = (
    WEBSOCKET,
    "if protocol.handshake_exc is not None or response is None:",
    "if response is None:",
)

BREAKS = {
    "MQTT-2.3.1-2": (
        INFLIGHT,
        "if packet_id not in self.outgoing and packet_id not in also_taken:",
        "if True:",
    ),
    "MQTT-2.3.1-5": (PACKETS, "elif self.packet_id is not None:", "elif False:"),
    "MQTT-2.3.1-7": (
        SERVER,
        "self._send(SubAck(packet_id, return_codes))",
        "self._send(SubAck(packet_id % 65535 + 1, return_codes))",
    ),
    "MQTT-3.1.0-2": (
        SERVER,
        "Publish: Endpoint._on_publish,",
        "Publish: Endpoint._on_publish, Connect: _on_connect,",
    ),
    "MQTT-3.1.2-3": (PACKETS, "if bits & 0x01:", "if False:"),
    "MQTT-3.1.2-12": (
        SERVER,
        "if self.state is State.CONNECTED and self._will is not None:",
        "if self.state is State.CONNECTED:",
    ),
    "MQTT-3.1.2-13": (PACKETS, "        if bits & 0x18:\n", "        if False:\n"),
    "MQTT-3.1.2-19": (
        PACKETS,
        'reader.text("user name", "MQTT-3.1.2-19") if bits & 0x80',
        'reader.text("user name", "MQTT-3.1.2-19") if bits & 0x80 and not reader.exhausted',
    ),
    "MQTT-3.1.2-20": (PACKETS, 'reader.end("MQTT-3.1.3-1")', "pass"),
    "MQTT-3.1.3-10": (
        PACKETS,
        'topic = reader.text("will topic", "MQTT-3.1.2-9")',
        'topic = reader.binary("will topic", "MQTT-3.1.2-9").decode(errors="replace")',
    ),
    "MQTT-3.2.2-3": (
        SERVER,
        "self._send(ConnAck(session_present))",
        "self._send(ConnAck(not self._clean_session))",
    ),
    "MQTT-3.2.2-5": (
        SERVER,
        "self._send(ConnAck(return_code=return_code))\n        self._close(None)",
        "self._send(ConnAck(return_code=return_code))",
    ),
    "MQTT-3.3.1-2": (PACKETS, "(0x30, 0x31), _QOS_0", "(0x30, 0x31, 0x38, 0x39), _QOS_0"),
    "MQTT-3.8.3-1": (
        PACKETS,
        'topic_filter = reader.text("topic filter", rule)',
        'topic_filter = reader.binary("topic filter", rule).decode(errors="replace")',
    ),
    "MQTT-3.10.1-1": (PACKETS, "0xA2: Shape(Unsubscribe", "0xA0: Shape(Unsubscribe"),
    "MQTT-3.10.4-2": (SERVER, "self.session.granted.pop(topic_filter, None)", "pass"),
    "MQTT-3.14.4-1": (
        CLIENT,
        "self._send(Disconnect())\n        self._close(None)",
        "self._send(Disconnect())",
    ),
    "MQTT-3.14.4-2": (ENDPOINT, "if self.state is not State.CONNECTED:", "if False:"),
    "MQTT-3.14.4-3": (SERVER, "self._will = None  # [MQTT-3.14.4-3]", "pass"),
    "MQTT-4.3.1-1": (
        ENDPOINT,
        "packet = Publish(topic, payload, qos, retain)",
        "packet = Publish(topic, payload, max(qos, 1), retain, packet_id=1)",
    ),
    "MQTT-4.3.2-2": (ENDPOINT, "if packet.qos == 2:", "if packet.qos >= 1:"),
    "MQTT-4.3.3-1": (
        INFLIGHT,
        "waiting = self.outgoing[packet_id] = PubRel(packet_id)",
        "waiting = PubRel(packet_id)",
    ),
    "MQTT-4.4.0-1": (
        ENDPOINT,
        "for packet in self.session.outgoing.values():",
        "for packet in list[Publish]():",
    ),
    "MQTT-4.6.0-2": IN_ORDER,
    "MQTT-4.6.0-3": IN_ORDER,
    "MQTT-4.6.0-5": (ENDPOINT, 'b"".join(self._outbox)', 'b"".join(reversed(self._outbox))'),
    "MQTT-6.0.0-4": (WEBSOCKET, "if protocol.subprotocol is None:", "if False:"),
    "U-1": (
        PACKETS,
        "0xE0: Shape(Disconnect",
        '0xF0: Shape(Disconnect, 0, 0, "U-7"),\n    0xE0: Shape(Disconnect',
    ),
    "U-4": (
        "wire/fields.py",
        'if "\\0" in text:\n        raise MalformedPacket(',
        'if any(each < " " for each in text):\n        raise MalformedPacket(',
    ),
    "U-14": (
        CLIENT,
        "return self._last_sent + self._answer_timeout",
        "return None",
    ),
    "U-15": (CLIENT, "self._ping_sent_at = now", "self._last_sent = now"),
    "U-22": (
        "wire/topics.py",
        "if len(found) < len(wanted):",
        "if len(found) <= len(wanted):",
    ),
    "WS-6": (
        WEBSOCKET,
        "subprotocols=[Subprotocol(SUBPROTOCOL)],\n        max_size=max_message_size,\n"
        "        logger=_silent,\n    )\n    protocol.send_request",
        "max_size=max_message_size,\n        logger=_silent,\n    )\n    protocol.send_request",
    ),
    "WS-22": ANY_ANSWER,
    "WS-25": ANY_ANSWER,
    "WS-26": (
        WEBSOCKET,
        "return WebSocketStream(stream, protocol, early)\n\n\ndef _upgrade_error",
        "return WebSocketStream(stream, protocol, [])\n\n\ndef _upgrade_error",
    ),
    "WS-28": (
        WEBSOCKET,
        "response = protocol.accept(request)",
        'del request.headers["Sec-WebSocket-Version"]\n'
        '        request.headers["Sec-WebSocket-Version"] = "13"\n'
        "        response = protocol.accept(request)",
    ),
    "WS-29": (
        WEBSOCKET,
        'elif not accept_path(request.path.partition("?")[0]):',
        "elif False:",
    ),
    "WS-30": (
        WEBSOCKET,
        "response = protocol.accept(request)",
        'response = protocol.accept(request)\n        del response.headers["Connection"]',
    ),
    "WS-32": (
        WEBSOCKET,
        'raise NegotiationError("the subprotocol mqtt was not offered")',
        "return None",
    ),
    "WS-33": (
        WEBSOCKET,
        "select_subprotocol=_select_subprotocol,",
        "select_subprotocol=_select_subprotocol,\n        extensions=[__import__("
        '"websockets.extensions.permessage_deflate", fromlist=["x"]'
        ").ServerPerMessageDeflateFactory()],",
    ),
    "WS-46": (WEBSOCKET, " or frame.opcode is Opcode.CONT:", ":"),
    "WS-52": (WEBSOCKET, "self._stream.transport.close()", "pass"),
    "WS-61": (
        WEBSOCKET,
        'return CloseCode.POLICY_VIOLATION, ""',
        'return CloseCode.NORMAL_CLOSURE, ""',
    ),
    "WS-65": (WEBSOCKET, "self._protocol.send_close(code, reason)", "pass"),
    "WS-66": (
        SERVER,
        "if self.state is State.CONNECTED and self._will is not None:",
        "if False:",
    ),
}
"""By rule: a file of the package, the text of a check, and what breaks it."""


def drawn() -> list[Rule]:
    """Return the rules that the seed draws, among those that our own code enforces."""
    rules = [rule for rule in conformance.read() if rule.applies and not rule.is_open]
    ours = {rule.id: rule for rule in rules if LIBRARY not in rule.enforced}
    ids = sorted(rule.id for rule in conformance.read())
    order = random.Random(SEED).sample(ids, len(ids))
    return [ours[id] for id in order if id in ours][:DRAWN]


def run(tree: Path, rule: Rule) -> bool:
    """Return whether all tests that the matrix names for the rule pass."""
    nodes = [f"tests/{node}" for node in rule.tests]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *nodes]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1, 2), done.stdout + done.stderr
    return done.returncode == 0


def verdict(tree: Path, rule: Rule) -> str:
    """Break a rule's check, run its tests, mend it, and say what came of it."""
    if rule.id not in BREAKS:
        return "NO BREAK IS WRITTEN FOR IT"
    place, old, new = BREAKS[rule.id]
    path = tree / "mqttws" / place
    source = path.read_text(encoding="utf-8")
    if source.count(old) != 1:
        return f"ITS CHECK IS FOUND {source.count(old)} TIMES"
    path.write_text(source.replace(old, new), encoding="utf-8")
    try:
        return "NOT NOTICED" if run(tree, rule) else "noticed"
    finally:
        path.write_text(source, encoding="utf-8")


def main() -> None:
    """Print one line for each rule; fail if a break was not noticed."""
    missed = 0
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        unwanted = shutil.ignore_patterns(".*", "build", "mutants", "*.so", "*.pyc")
        shutil.copytree(ROOT, tree, ignore=unwanted)
        for rule in drawn():
            said = verdict(tree, rule)
            missed += said != "noticed"
            print(f"{rule.id}: {BREAKS.get(rule.id, ('?',))[0]}: {said}", flush=True)
    sys.exit(missed)


if __name__ == "__main__":
    main()
