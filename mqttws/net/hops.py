"""The way to an assignment, leg by leg: what was tried, when, how long it took, how it ended.

Knows the clock and the time limits. Does not know what a hop does. The demo's lines, the trace, the
errors' ``.hop`` and the doctor all read the same ``Step`` objects.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConnectFailed, HopTimedOut, MqttwsError, RequestTimedOut, UsageError
from ..hops import Cause, Hop, Party
from .failures import explain_cut, translate

logger: logging.Logger = logging.getLogger("mqttws.hops")

REQUESTS = frozenset({Hop.SUBSCRIBE, Hop.REGISTER, Hop.POLL})
"""Hops that ask a peer who is already connected: silence there is ``RequestTimedOut``."""


@dataclass(slots=True)
class Step:
    """One leg of the way.

    Attributes:
        hop: which leg.
        detail: what was found, such as ``127.0.0.1:443`` or ``TLSv1.3``; grows while it is walked.
        started: seconds since the walk began.
        ended: seconds since the walk began; None while the leg is being walked.
        error: what ended it; None if it was walked to its end.
        facts: that the peer sent on it, such as ``server`` or ``date``, for the doctor.
        certificates: the peer's own and those that lead to a trusted one, DER; for hops of TLS.
        status: of DPS's answer, as in HTTP; 0 with every other hop.
        retry_after: seconds after which DPS wants to be asked again; None where it did not say.
        heard: bytes that came on this leg before the time was over.
        silence: cause, party and hint of a silence on this leg, where more is known than the hop.
    """

    hop: Hop
    detail: str = ""
    started: float = 0.0
    ended: float | None = None
    error: MqttwsError | None = field(default=None, repr=False)
    facts: dict[str, str] = field(default_factory=dict, repr=False)
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    status: int = 0
    retry_after: float | None = None
    heard: int = 0
    silence: tuple[Cause, Party, str] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The hop's name."""
        return self.hop.value

    @property
    def outcome(self) -> str:
        """``ok``, ``open`` while it is being walked, or the class of the error."""
        if self.error is not None:
            return type(self.error).__name__
        return "open" if self.ended is None else "ok"

    @property
    def seconds(self) -> float:
        """The duration in seconds; 0 while it is being walked."""
        return 0.0 if self.ended is None else self.ended - self.started

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON members; times are in milliseconds."""
        found: dict[str, Any] = {
            "hop": self.name,
            "outcome": self.outcome,
            "detail": self.detail,
            "started_ms": round(self.started * 1000, 3),
            "took_ms": round(self.seconds * 1000, 3),
        }
        if self.error is not None:
            found["error"] = str(self.error)
        if self.facts:
            found["facts"] = self.facts
        return found


OnStep = Callable[[Step], None]
"""Called with each step twice: when it begins (``ended`` is None) and when it has ended."""


class Walk:
    """Records the steps of one walk and keeps its time limits.

    Args:
        timeout: seconds for the whole walk.
        hop_timeout: seconds for a single hop.
        request_timeout: seconds for each answer of a peer that is connected; None for
            ``hop_timeout``.
        on_step: called with each step when it begins and when it has ended.
        described: whether certificates are read for the steps' facts, which takes time and
            memory; None for only if there is an ``on_step``.

    Attributes:
        steps: what was walked.
        described: as above.
        certified: whether the client shows a certificate of its own, as far as is known; a server
            that then leaves without a word has probably refused it.
        resume: whether a TLS session of this process may be resumed, which skips the certificate
            check: not where the way is what is examined.
        timeout: seconds for the whole walk.
        failures: by address of a server or proxy, how often a connection to it has failed after
            TCP: the next one prefers another address.
    """

    def __init__(
        self,
        *,
        timeout: float,
        hop_timeout: float,
        request_timeout: float | None = None,
        on_step: OnStep | None = None,
        described: bool | None = None,
    ) -> None:
        for name, seconds in (("timeout", timeout), ("hop_timeout", hop_timeout)):
            if not isinstance(seconds, int | float) or not 0 < seconds < 1e9:
                raise UsageError(f"{name} {seconds!r}; allowed: more than 0 seconds")
        self.steps: list[Step] = []
        self.described: bool = on_step is not None if described is None else described
        self.certified = False
        self.resume = False
        self.timeout = timeout
        self.failures: Counter[str] = Counter()
        self._hop_timeout = hop_timeout
        self._request_timeout = request_timeout or hop_timeout
        self._on_step = on_step
        self._began = time.monotonic()

    def aside(self, timeout: float) -> "Walk":
        """Return a walk without an observer, of ``timeout`` seconds or what this one has left.

        For a second look at something, or for one of several ways that are tried at once.
        """
        left = max(0.001, min(timeout, self.remaining))
        hop_timeout = min(self._hop_timeout, left)
        walk = Walk(timeout=left, hop_timeout=hop_timeout, described=self.described)
        walk.certified, walk.resume = self.certified, self.resume
        walk.failures = self.failures
        return walk

    @property
    def reached(self) -> bool:
        """Whether a server or proxy has accepted a connection: there is a network."""
        return any(
            step.hop in (Hop.TCP, Hop.PROXY_TCP) and step.outcome == "ok" for step in self.steps
        )

    def adopt(self, steps: Sequence[Step], began: float) -> None:
        """Take in the steps of a walk aside that began ``began`` seconds after this one."""
        for step in steps:
            ended, error = step.ended, step.error
            step.started += began
            step.ended, step.error = None, None  # the observer is called twice, as ever
            self.steps.append(step)
            self._tell(step)
            step.ended, step.error = None if ended is None else ended + began, error
            self._tell(step)

    @property
    def elapsed(self) -> float:
        """Seconds since the walk began."""
        return time.monotonic() - self._began

    @property
    def remaining(self) -> float:
        """Seconds until the whole walk must have ended; never negative."""
        return max(0.0, self.timeout - self.elapsed)

    @property
    def is_over(self) -> bool:
        """Whether its time is over; a timer may ring a little early."""
        return self.remaining < 0.02

    @asynccontextmanager
    async def hop(self, hop: Hop, detail: str = "") -> AsyncIterator[Step]:
        """Walk one leg: time it, bound it, and turn foreign errors into ours.

        Args:
            hop: which leg.
            detail: what is known of it beforehand.
        """
        step = Step(hop, detail, self.elapsed)
        self.steps.append(step)
        self._tell(step)
        if hop in REQUESTS:
            usual = self._request_timeout
        else:
            usual = self._hop_timeout * (NAME_FACTOR if hop in _NAMES else 1)
        allowed = min(usual, self.remaining)
        try:
            async with asyncio.timeout(allowed):
                try:
                    yield step
                except (MqttwsError, TimeoutError):
                    # A time-out of the operating system (ETIMEDOUT) is a TimeoutError too.
                    raise
                except OSError as error:  # ssl.SSLError and socket.gaierror among them
                    raise translate(error, hop, detail) from error
        except MqttwsError as error:
            if hop in (Hop.UPGRADE, Hop.CONNECT):
                explain_cut(error, certified=self.certified)
            error.hop = error.hop or hop
            self._end(step, error)
            raise
        except TimeoutError as error:
            silence = self._silence(step, detail, allowed, usual)
            self._end(step, silence)
            raise silence from error
        else:
            self._end(step, None)

    def out_of_time(self, hop: Hop) -> RequestTimedOut:
        """Return the error for a walk whose whole time is used up."""
        return RequestTimedOut(
            f"not done within {self.timeout:g} s; the last hop was {hop.value}",
            hop=hop,
            cause=Cause.OUT_OF_TIME,
            hint="give it more time, or see which step took long",
        )

    def _silence(
        self, step: Step, detail: str, allowed: float, usual: float
    ) -> ConnectFailed | RequestTimedOut:
        hop = step.hop
        where = f" ({detail})" if detail else ""
        if allowed < usual:
            waited = f"no answer before the {self.timeout:.3g} s for all of it were over"
        else:
            waited = f"no answer within {allowed:g} s"
        sentence = f"{hop.value}: {waited}{where}"
        if step.heard:
            sentence += f"; {step.heard} bytes of an unfinished answer came"
        if hop in REQUESTS:
            return RequestTimedOut(sentence, hop=hop, cause=Cause.SILENT)
        if step.silence is not None:
            cause, party, hint = step.silence
            return HopTimedOut(sentence, hop=hop, cause=cause, party=party, hint=hint)
        if hop in _NAMES:
            hint = _SILENCE[hop]
            return HopTimedOut(
                sentence, hop=hop, cause=Cause.NAME_SERVER_FAILED, party=Party.NETWORK, hint=hint
            )
        return HopTimedOut(sentence, hop=hop, hint=_SILENCE[hop])

    def _end(self, step: Step, error: MqttwsError | None) -> None:
        step.error = error
        step.ended = self.elapsed
        self._tell(step)

    def _tell(self, step: Step) -> None:
        if self._on_step is None:
            return
        try:
            self._on_step(step)
        except Exception:  # who only watches must not end the walk, nor leave a socket open
            logger.exception("on_step failed")


NAME_FACTOR = 2.5
"""Hop times that a name is given: the C library asks each server twice, for 5 seconds."""

_NAMES = frozenset({Hop.NAME, Hop.PROXY_NAME})

NAME_A_PROXY = (
    "if this network reaches the internet only through a proxy, name it:"
    " MQTTWS_PROXY=http://user:password@host:port"
)
"""Advice where nothing answers and no proxy is set: the commonest case of all in offices."""

_SILENCE = {
    Hop.PROXY_NAME: "the name server does not answer: check which one this host uses"
    " (/etc/resolv.conf), and ask the network team",
    Hop.PROXY_TCP: "packets to the proxy vanish: check its host and port (a URL of http:// without"
    " one means port 80), and whether a firewall lets this host reach it",
    Hop.PROXY_TLS: "TCP connects but TLS is not answered: is it an http:// proxy, and not an"
    " https:// one?",
    Hop.PROXY: "the proxy took the request and said nothing: a firewall behind it drops this host"
    " and port, or it is a proxy of another kind: check the URL's beginning, http or socks5h",
    Hop.NAME: "the name server does not answer: check which one this host uses (/etc/resolv.conf),"
    " and ask the network team",
    Hop.TCP: "packets vanish on the way, as a firewall does it: ask the network team to open this"
    " host and port, or try the other transport (443 or 8883)",
    Hop.TLS: "TCP connects but TLS is not answered: a firewall that allows only known traffic, or"
    " a server that does not speak TLS on this port",
    Hop.UPGRADE: "the server took the request to open a WebSocket and said nothing: a middlebox"
    " that does not know WebSocket, or the wrong service",
    Hop.CONNECT: "the server took CONNECT and said nothing: a middlebox that lets TLS pass and not"
    " MQTT, or a fault of the server: ask its operator",
}
