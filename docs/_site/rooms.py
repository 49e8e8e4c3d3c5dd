"""The picture of the package: its rooms and who imports whom, read from the imports.

``python docs/_site/rooms.py >architecture.svg`` draws it alone.
"""

import ast
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mqttws"
COMMON = {"errors", "hops", "text", "options", "retry", "loop_thread"}
"""Rooms that all others may use: not drawn with arrows."""
WIDTH, HEIGHT, GAP_X, GAP_Y, LEFT, TOP = 132, 34, 26, 62, 24, 24


def imports() -> dict[str, set[str]]:
    """Return each room (a folder of the package) and the rooms that its files import."""
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for room in rooms:
        for file in (PACKAGE / room).rglob("*.py"):
            depth = len(file.relative_to(PACKAGE).parts)
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level == depth:
                    names = [node.module] if node.module else [each.name for each in node.names]
                    found[room] |= {name.split(".")[0] for name in names if name} & rooms
        found[room].discard(room)
    return found


def layers(above: dict[str, set[str]]) -> list[list[str]]:
    """Return the rooms from top to bottom: each stands above all that it imports."""
    height: dict[str, int] = {}

    def of(room: str) -> int:
        if room not in height:
            height[room] = 1 + max((of(each) for each in above[room]), default=-1)
        return height[room]

    highest = max(of(room) for room in above)
    return [sorted(r for r in above if of(r) == level) for level in range(highest, -1, -1)]


def _nearest(room: str, above: dict[str, set[str]]) -> set[str]:
    """Return the imports that no other import of the room has already."""

    def reached(start: str) -> set[str]:
        return above[start] | {far for each in above[start] for far in reached(each)}

    return {each for each in above[room] if not any(each in reached(o) for o in above[room])}


def architecture_svg() -> str:
    """Return the picture as SVG, with a title and a description."""
    above = {
        room: {each for each in used if each not in COMMON}
        for room, used in imports().items()
        if room not in COMMON
    }
    rows = layers(above)
    width = max(len(row) for row in rows) * (WIDTH + GAP_X) + 2 * LEFT
    places = {}
    for number, row in enumerate(rows):
        start = (width - len(row) * (WIDTH + GAP_X) + GAP_X) / 2
        for place, room in enumerate(row):
            places[room] = (start + place * (WIDTH + GAP_X), TOP + number * (HEIGHT + GAP_Y))
    bottom = TOP + len(rows) * (HEIGHT + GAP_Y)
    arrows, boxes = [], []
    for room, (x, y) in places.items():
        for each in sorted(_nearest(room, above)):
            to_x, to_y = places[each]
            middle = WIDTH / 2
            arrows.append(
                f'<line x1="{x + middle}" y1="{y + HEIGHT}" x2="{to_x + middle}" '
                f'y2="{to_y - 6}" marker-end="url(#tip)"/>'
            )
        boxes.append(_box(x, y, WIDTH, room))
    boxes.append(_box(LEFT, bottom - 30, width - 2 * LEFT, "for all: " + ", ".join(sorted(COMMON))))
    said = "; ".join(f"{room} imports {', '.join(sorted(above[room]))}" for room in places)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 24}" '
            'font-family="sans-serif" font-size="14" role="img">',
            "<title>The rooms of mqttws, and which imports which</title>",
            f"<desc>{escape(said)}</desc>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" fill="#777"/></marker></defs>',
            f'<rect width="{width}" height="{bottom + 24}" fill="#fff"/>',
            '<g stroke="#777">',
            *arrows,
            "</g>",
            *boxes,
            "</svg>",
        ]
    )


def _box(x: float, y: float, width: float, text: str) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{HEIGHT}" rx="5" fill="#e8eefc" '
        f'stroke="#3b5bdb"/><text x="{x + width / 2}" y="{y + 22}" fill="#111" '
        f'text-anchor="middle">{escape(text)}</text>'
    )


if __name__ == "__main__":
    print(architecture_svg())
