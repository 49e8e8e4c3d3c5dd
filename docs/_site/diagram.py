"""The sequence diagram of a registration, from the packets of one that runs here and now.

``python docs/_site/diagram.py >registration.svg`` draws it alone.
"""

import time
from html import escape

import mqttws
from mqttws.wire import Packet, Publish

WIDTH, LEFT, RIGHT, TOP, ROW = 860, 150, 710, 70, 34


def trace() -> list[tuple[float, str, str]]:
    """Register a device with a local DPS; return milliseconds, direction and text of each event.

    The direction is ``>`` for a packet to DPS, ``<`` for one from it, and empty for a hop that has
    no packets of its own.
    """
    events: list[tuple[float, str, str]] = []
    with mqttws.LocalDps(retry_after=1) as dps:
        credential = mqttws.SymmetricKey("my-device", dps.enroll_device("my-device"))
        begun = time.monotonic()

        def note(direction: str, text: str) -> None:
            events.append(((time.monotonic() - begun) * 1000, direction, text))

        def on_step(step: mqttws.Step) -> None:
            if step.ended is not None and step.hop.value in ("name", "tcp", "tls", "upgrade"):
                note("", f"{step.hop.value}: {_shortened(step.detail)}")

        def on_packet(direction: str, packet: Packet) -> None:
            note(direction, _words(packet))

        mqttws.provision(
            dps.id_scope, credential, on_step=on_step, on_packet=on_packet, **dps.options
        )
    return events


def _words(packet: Packet) -> str:
    name = type(packet).__name__.upper()
    if isinstance(packet, Publish):
        return f"{name} {_shortened(packet.topic)}"
    if name == "CONNACK":
        return f"{name} {packet.return_code}"
    return name


def _shortened(text: str) -> str:
    head, mark, rest = text.partition("?$rid=")
    if mark:
        _, retry, seconds = rest.partition("&retry-after=")
        return head + "?$rid=…" + retry + seconds
    return text


def registration_svg() -> str:
    """Return the diagram as SVG, with a title and a description."""
    rows = trace()
    height = TOP + ROW * (len(rows) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="sans-serif" font-size="13" fill="#222">',
        "<title>A registration, packet by packet</title>",
        f"<desc>{escape('; '.join(f'{side} {text}' for _, side, text in rows))}</desc>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        '<defs><marker id="head" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
        '<path d="M0,0 L9,4 L0,8 z" fill="#225"/></marker></defs>',
    ]
    for x, name in ((LEFT, "device"), (RIGHT, "DPS")):
        parts.append(f'<text x="{x}" y="30" text-anchor="middle" font-size="16">{name}</text>')
        parts.append(f'<path d="M{x},42 V{height - 15}" stroke="#99a"/>')
    for number, (ms, side, text) in enumerate(rows):
        y = TOP + ROW * number
        begin, end = (LEFT, RIGHT) if side == ">" else (RIGHT, LEFT)
        parts.append(f'<text x="{LEFT - 14}" y="{y + 4}" text-anchor="end">{ms:.0f} ms</text>')
        middle = (LEFT + RIGHT) / 2
        label = f'<text x="{middle}" y="{y - 5}" text-anchor="middle"'
        if side:
            parts.append(
                f'<path d="M{begin},{y} H{end}" stroke="#225" marker-end="url(#head)" fill="none"/>'
            )
        else:
            label += ' fill="#666" font-style="italic"'
        parts.append(f"{label}>{escape(text)}</text>")
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    print(registration_svg(), end="")
