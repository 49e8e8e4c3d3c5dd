"""The simple queries of the service API: ``SELECT ... FROM devices [WHERE ...]``.

Served: ``SELECT *``, a list of fields or ``COUNT() AS name``; ``FROM devices`` or
``devices.modules``; conditions ``field = value`` (also ``!=``, ``<>``, ``<``, ``<=``, ``>``,
``>=``, ``IN [..]``, ``IS_DEFINED(field)``), joined by AND, OR, NOT and parentheses. Source:
azure-docs ``iot-hub-devguide-query-language.md``. All else is refused, never ignored.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...text import shown
from .codes import Code, Fault

Row = Mapping[str, Any]
Condition = Callable[[Row], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>\$?[A-Za-z_][\w$.-]*)|(?P<sign><=|>=|!=|<>|[=<>()\[\],*]))"
)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MISSING = object()


@dataclass(frozen=True)
class Query:
    """A parsed query.

    Attributes:
        modules: whether it asks for modules instead of devices.
        fields: those that are wanted; empty for all.
        count: the name of the counted column; empty for none.
        matches: whether a twin is among the wanted.
    """

    modules: bool
    fields: tuple[str, ...]
    count: str
    matches: Condition

    def rows(self, twins: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the answer, from the twins as the service reads them."""
        found = [twin for twin in twins if self.matches(twin)]
        if self.count:
            return [{self.count: len(found)}]
        if not self.fields:
            return found
        pairs = [[(name, field_of(row, name)) for name in self.fields] for row in found]
        return [{name: of for name, of in row if of is not _MISSING} for row in pairs]


def parse_query(text: str) -> Query | Fault:
    """Return a query, or the fault that names the place which cannot be read."""
    try:
        return _Parser(_tokens(text)).query()
    except _Unreadable as error:
        return Fault(Code.ArgumentInvalid, f"the query cannot be read at {shown(str(error))}")


def field_of(row: Row, name: str) -> Any:
    """Return a member by its dotted name."""
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


class _Unreadable(Exception):
    pass


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise _Unreadable(text[at:])
        kind = found.lastgroup or ""
        tokens.append((kind, found.group(kind)))
        at = found.end()
    return tokens


class _Parser:
    """Reads a query by recursive descent."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def query(self) -> Query:
        self._demand("SELECT")
        fields, count = self._fields()
        self._demand("FROM")
        source = self._next("word").lower()
        if source not in ("devices", "devices.modules"):
            raise _Unreadable(source)
        if self._word("AS") or (self._peek()[0] == "word" and self._peek()[1].lower() == "c"):
            self._next("word")
        matches = self._either() if self._word("WHERE") else _all
        if self._at != len(self._tokens):
            raise _Unreadable(self._peek()[1])
        return Query(source == "devices.modules", fields, count, matches)

    def _fields(self) -> tuple[tuple[str, ...], str]:
        if self._sign("*"):
            return (), ""
        if self._word("COUNT"):
            self._demand_sign("(")
            self._sign("*")
            self._demand_sign(")")
            return (), self._next("word") if self._word("AS") else "count"
        fields = [self._next("word")]
        while self._sign(","):
            fields.append(self._next("word"))
        return tuple(fields), ""

    def _either(self) -> Condition:
        found = [self._both()]
        while self._word("OR"):
            found.append(self._both())
        return found[0] if len(found) == 1 else lambda row: any(of(row) for of in found)

    def _both(self) -> Condition:
        found = [self._one()]
        while self._word("AND"):
            found.append(self._one())
        return found[0] if len(found) == 1 else lambda row: all(of(row) for of in found)

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > 100:
            raise _Unreadable("too many parentheses")
        try:
            if self._word("NOT"):
                negated = self._one()
                return lambda row: not negated(row)
            if self._sign("("):
                inner = self._either()
                self._demand_sign(")")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Condition:
        if self._word("IS_DEFINED"):
            self._demand_sign("(")
            name = self._next("word")
            self._demand_sign(")")
            return lambda row: field_of(row, name) is not _MISSING
        name = self._next("word")
        if self._word("IN"):
            values = self._list()
            return lambda row: field_of(row, name) in values
        sign = self._next("sign")
        compare = _COMPARE.get(sign)
        if compare is None:
            raise _Unreadable(sign)
        value = self._value()
        return lambda row: _compared(compare, field_of(row, name), value)

    def _list(self) -> list[Any]:
        self._demand_sign("[")
        values = [self._value()]
        while self._sign(","):
            values.append(self._value())
        self._demand_sign("]")
        return values

    def _value(self) -> Any:
        kind, text = self._peek()
        self._at += 1
        if kind == "string":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if kind == "number":
            return float(text) if "." in text else int(text)
        constants = {"true": True, "false": False, "null": None}
        if kind == "word" and text.lower() in constants:
            return constants[text.lower()]
        raise _Unreadable(text)

    # Tokens

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "its end")

    def _next(self, kind: str) -> str:
        found, text = self._peek()
        if found != kind:
            raise _Unreadable(text)
        self._at += 1
        return text

    def _word(self, word: str) -> bool:
        kind, text = self._peek()
        fits = kind == "word" and text.upper() == word
        self._at += fits
        return fits

    def _sign(self, sign: str) -> bool:
        fits = self._peek() == ("sign", sign)
        self._at += fits
        return fits

    def _demand(self, word: str) -> None:
        if not self._word(word):
            raise _Unreadable(self._peek()[1])

    def _demand_sign(self, sign: str) -> None:
        if not self._sign(sign):
            raise _Unreadable(self._peek()[1])


def _all(row: Row) -> bool:
    return True


def _compared(compare: Callable[[Any, Any], bool], found: Any, value: Any) -> bool:
    if found is _MISSING:
        return False
    try:
        return compare(found, value)
    except TypeError:
        return False
