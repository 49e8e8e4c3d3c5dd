"""The exchange with DPS: connection after connection, until a registration has ended.

Joins one registration (``dps.registration``) to as many connections as it takes, and gives both the
clock. Which failure is worth another connection, and after how long, is ``retry``'s rule. Does not
know the arguments of ``provision``, nor the file that keeps an assignment.
"""

import asyncio
import logging
import random
import time
from dataclasses import replace

from ..dps.registration import CONFLICTS, Registration
from ..dps.topics import RESPONSE_FILTER, Message
from ..errors import ConnectFailed, ConnectionLost, ConnectRefused, MqttwsError, RequestTimedOut
from ..hops import Cause, Hop
from ..net.failures import is_cut_off
from ..net.hops import Step, Walk
from ..net.stream import CLOSE_TIMEOUT
from ..net.target import Target
from ..net.tls import tls_at_most_1_2
from ..net.ways import dial_first
from ..retry import LOST, fit, tells_less
from .assignment import Assignment
from .conversation import Conversation
from .plan import Pipelined, Plan

logger: logging.Logger = logging.getLogger("mqttws.provisioning")

MAX_MESSAGE_SIZE = 1024 * 1024
"""Bytes of a WebSocket message from DPS, whose answers have at most 96 KiB."""

CONNACK_WITH_ANOTHER_WAY = 10.0
"""Seconds for CONNACK while another transport has not been tried."""

HELD = 10.0
"""Seconds after which a connection that was accepted and lost counts as a good one."""

NAMED_AFTER = 4
"""Connections, accepted and ended soon in a row, after which another client is suspected; one that
the server has closed with a code counts for two."""

DOUBTFUL_TRIES = 3
"""How often a refusal is tried that is temporary or final, and does not say which."""

_REFUSALS = {
    2: "the registration id is not one that DPS accepts",
    3: "wrong id scope (an instance in China has another host,"
    " global.azure-devices-provisioning.cn), or the service is unavailable",
    4: "check the device's key",
    5: "check registration id and key; a certificate's common name must be the registration id",
}
"""What CONNACK's codes mean when DPS sends them."""

_SCOPE_OR_UNAVAILABLE = 3

_UNSEEN_CERTIFICATE = (
    "the service did not accept, or did not get, this device's certificate: check that it, or its"
    " CA, is the one that is enrolled, and this clock"
)

_RE_SIGNED = (
    "a proxy that re-signs TLS cannot pass a device's certificate on: have this host exempted"
    " there, or use a key"
)

_CERTIFICATE_HINT = (
    "the connection ended right after this device's certificate had been shown: the service does "
    "not know its issuer. Check that the whole chain is sent, that one of its certificates is "
    "enrolled, and that the certificate is one for clients (extended key usage)"
)

_ANOTHER_CLIENT = (
    "another client with this registration id may be connected: the service ends a connection when"
    " the same device opens another; give each device an id of its own"
)

_CONFLICTS = tuple(map(str, CONFLICTS))

_NO_ANSWER_OF_DPS = "an answer of DPS has at most 96 KiB: check that the host is a DPS endpoint"

_NO_NETWORK = frozenset({Cause.NAME_UNKNOWN, Cause.NO_ROUTE, Cause.REFUSED})
"""Answers of a host without a network, but also to a misspelled name or a wrong port."""

_DOUBTFUL = frozenset(
    {
        Cause.PROXY_CANNOT_REACH,
        Cause.NOT_TLS,
        Cause.TLS_ALERT,
        Cause.NOT_HTTP,
        Cause.PROTOCOL_BROKEN,
    }
)
"""Answers of a captive portal or a service that is being started, but also to a wrong address."""

_SERVER_STOPS = frozenset({1001, 1011, 1012, 1013, 1014})
"""Close codes of a server or gateway that stops, restarts, fails or is too busy (RFC 6455 section
7.4.1, IANA's registry)."""


class Exchange:
    """One registration over as many connections as it takes, within the walk's time.

    Args:
        plan: whom to ask, and how.
        registration: the registration, not begun.
        walk: keeps the time limits and records the steps.
    """

    def __init__(self, plan: Plan, registration: Registration, walk: Walk) -> None:
        self._plan = plan
        self._asked = plan
        self._registration = registration
        self._walk = walk
        walk.certified, walk.resume = plan.certified, plan.resume
        self._targets = plan.targets()
        self._tried: set[str] = set()  # schemes over which no CONNACK came
        self._in_turn = False  # whether pipelining has failed
        self._unanswered_hellos = 0  # of TLS, in a row
        self._failures = 0  # in a row, without a good connection between
        self._doubtful = 0
        self._connections = 0
        self._accepted_at: float | None = None  # of the connection that is or was the last
        self._evictions = 0  # in a row; one with a reason counts for two
        self._named = False

    async def run(self) -> Assignment:
        """Return the assignment.

        Raises:
            MqttwsError: what cannot pass, or what was the matter when time was over.
        """
        before: MqttwsError | None = None
        while True:
            try:
                return await self._attempt()
            except MqttwsError as error:
                self._change_tls(error)
                wait = self._wait_after(error)
                if wait is None:
                    if before is not None and self._was_cut_off(error, before):
                        self._explain(before, cut_off=error.hop)
                        raise before from before.__cause__
                    self._explain(error)
                    raise
                before = error
            await asyncio.sleep(wait)

    # One connection

    async def _attempt(self) -> Assignment:
        plan, walk = self._plan, self._walk
        self._connections += 1
        self._accepted_at = None
        target, stream = await dial_first(
            self._targets,
            walk,
            tls=plan.shown,
            proxy=plan.proxy,
            max_message_size=MAX_MESSAGE_SIZE,
        )
        pipelined = None if self._in_turn else plan.pipelined_at(target)
        try:
            conversation = Conversation(
                plan.connect_packet(),
                answer_timeout=self._patience(target),
                pipelined=pipelined is not None,
                on_packet=plan.on_packet,
            )
        except BaseException:
            stream.abort()
            raise
        try:
            request = self._early_request(pipelined)
            async with walk.hop(Hop.CONNECT, plan.credential.registration_id) as step:
                await conversation.open(stream, request)
                step.detail = "CONNACK 0, accepted"
            self._accept(target)
            async with walk.hop(Hop.SUBSCRIBE, RESPONSE_FILTER) as step:
                granted = await conversation.subscribed()
                step.detail = f"SUBACK, QoS {granted} for {RESPONSE_FILTER}"
            return await self._converse(conversation, sent=request is not None)
        except (ConnectFailed, ConnectionLost, RequestTimedOut):
            if self._registration.last_response is None:
                self._in_turn = self._in_turn or pipelined is not None
            if self._accepted_at is None:
                self._tried.add(target.scheme)
                self._targets.sort(key=lambda one: one.scheme in self._tried)
                walk.failures[stream.address] += 1
            raise
        finally:
            await conversation.leave(min(CLOSE_TIMEOUT, walk.remaining))
            stream.abort()

    def _patience(self, target: Target) -> float:
        """Return the seconds within which CONNACK must come."""
        untried = any(one.scheme not in self._tried | {target.scheme} for one in self._targets)
        left = max(0.001, self._walk.remaining)
        return min(CONNACK_WITH_ANOTHER_WAY, left) if untried else left

    def _early_request(self, pipelined: Pipelined) -> Message | None:
        """Return the request that goes out before CONNACK, if one may."""
        if pipelined != "register" or self._registration.retry_after is not None:
            return None
        return self._registration.resume(time.monotonic())

    def _accept(self, target: Target) -> None:
        self._accepted_at = time.monotonic()
        self._targets.sort(key=lambda one: one is not target)
        self._plan.note_accepted(target, in_turn=self._in_turn)
        if self._plan is self._asked:
            self._plan.note_uncapped()
        else:
            logger.info("TLS 1.2 at most: a hello of TLS 1.3 was cut off or not answered before")

    async def _converse(self, conversation: Conversation, *, sent: bool) -> Assignment:
        """Ask, wait as long as the service wants, and ask again, until the operation has ended."""
        registration = self._registration
        while True:
            request: Message | None = None
            if not sent:
                request = await self._next_request(conversation)
            sent = False
            hop = Hop(registration.waiting_for)
            async with self._walk.hop(hop, registration.operation_id) as step:
                if request is not None:
                    conversation.send(request)
                await self._receive_answer(conversation)
                _describe(step, registration)
                if registration.error is not None:
                    raise registration.error
            if registration.result is not None:
                return Assignment(**vars(registration.result))

    async def _receive_answer(self, conversation: Conversation) -> None:
        """Hand messages in until one of them was the answer; the hop's time limit bounds it."""
        registration = self._registration
        while registration.awaits_answer:
            message = await conversation.next_message()
            if message is not None:
                registration.receive(message, time.monotonic())

    async def _next_request(self, conversation: Conversation) -> Message:
        """Wait for the turn that the service has named; notice at once if the connection goes."""
        registration = self._registration
        if registration.retry_after is None:  # nothing was asked, or the answer was lost
            return registration.resume(time.monotonic())
        wait = self._until_turn()
        if wait is None:
            raise self._out_of_time()
        until = time.monotonic() + wait
        while (left := until - time.monotonic()) > 0:
            message = await conversation.next_message(left)
            if message is not None:  # nothing is expected: a late answer is only counted
                registration.receive(message, time.monotonic())
        return registration.resume(time.monotonic())

    def _until_turn(self) -> float | None:
        """Return the seconds until the service is asked again; None where time is over before."""
        registration, now = self._registration, time.monotonic()
        wait = max(0.0, (registration.deadline or now) - now)
        at_least = max(0.0, (registration.earliest or now) - now)
        return fit(wait, at_least, self._walk.remaining)

    # Between two connections

    def _change_tls(self, error: MqttwsError) -> None:
        """Offer TLS 1.2 at most where a hello of TLS 1.3 was cut off or not answered, and back.

        Some firewalls cannot stand such a hello, and a server that is being started answers none:
        where one was answered in this process, it takes two in a row. The minimum stays TLS 1.2,
        and the certificate is checked all the same.
        """
        if error.hop is not Hop.TLS or error.cause not in (Cause.CUT_OFF, Cause.SILENT):
            self._unanswered_hellos = 0
            return
        self._unanswered_hellos += 1
        if self._plan is not self._asked:
            self._plan = self._asked
        elif self._unanswered_hellos >= self._asked.hellos_before_cap:
            capped = tls_at_most_1_2(self._asked.tls)
            if capped is not None:
                self._plan = replace(self._asked, tls=capped)

    def _wait_after(self, error: MqttwsError) -> float | None:
        """Return the seconds before the next connection; None where there is none."""
        if not self._plan.persistent or not self._is_worth_another(error):
            return None
        self._note_loss(error)
        wanted = (error.retry_after or 0.0) if isinstance(error, ConnectFailed) else 0.0
        spread = random.random()  # noqa: S311 - no secrecy is needed
        wait = LOST.wait(self._failures, spread, at_least=wanted)
        self._failures += 1
        if self._registration.retry_after is None:
            return fit(wait, wanted, self._walk.remaining)
        # Nothing can be asked before the turn that the service has named.
        turn = self._until_turn()
        return None if turn is None else fit(max(wait, turn), turn, self._walk.remaining)

    def _is_worth_another(self, error: MqttwsError) -> bool:
        """Tell whether a failure can pass, as far as it can be judged from here."""
        if self._registration.done or not error.retryable:
            return False
        if self._plan.wait_for_network or self._registration.last_response is not None:
            return True
        if error.cause in _NO_NETWORK:
            return self._walk.reached
        # CONNACK 3 is also the answer to a wrong id scope.
        if error.cause in _DOUBTFUL or isinstance(error, ConnectRefused):
            self._doubtful += 1
            return self._doubtful < DOUBTFUL_TRIES
        return True

    def _note_loss(self, error: MqttwsError) -> None:
        """Judge a connection that was accepted and lost: was it a good one, was it taken over?"""
        if self._accepted_at is None:
            self._evictions = 0  # a service that was away has ended the connection before
            return
        if time.monotonic() - self._accepted_at >= HELD:
            self._failures = 0
        elif isinstance(error, ConnectionLost) and error.close_code not in _SERVER_STOPS:
            # A server that closes says so; one that was killed leaves the connection as it is.
            self._evictions += 1 if error.close_code is None else 2
            if self._evictions >= NAMED_AFTER and not self._named:
                self._named = True
                name = self._plan.credential.registration_id
                logger.warning("%s: accepted and closed again and again: %s", name, _ANOTHER_CLIENT)

    def _out_of_time(self) -> RequestTimedOut:
        registration = self._registration
        again = round(max(0.0, (registration.earliest or 0.0) - time.monotonic()), 1)
        response = registration.last_response
        named = response is not None and response.retry_after is not None
        hint = f"DPS wants to be asked again in {again:g} s: come back then, or give it more time"
        return RequestTimedOut(
            f"not done within {self._walk.timeout:g} s ({registration.describe()})",
            hop=Hop(registration.waiting_for),
            cause=Cause.OUT_OF_TIME,
            hint=hint if named else "DPS has not said when to ask again: give it more time",
        )

    def _was_cut_off(self, error: MqttwsError, before: MqttwsError) -> bool:
        """Tell whether the last attempt had no time to find out more than the one before it."""
        last = self._walk.steps[-1] if self._walk.steps else Step(Hop.NAME)
        if last.error is not error or last.ended is None or not self._walk.is_over:
            return False
        return tells_less(error, last.ended - last.started, before)

    def _explain(self, error: MqttwsError, cut_off: Hop | None = None) -> None:
        """Say in the hint what was learnt on the way."""
        hints = [error.hint]
        if isinstance(error, ConnectRefused):
            hints = [_REFUSALS.get(error.return_code, error.hint)]
            if error.return_code == _SCOPE_OR_UNAVAILABLE:
                error.cause, error.retryable = Cause.SCOPE_UNKNOWN, True  # which of both is unknown
        elif isinstance(error, ConnectFailed) and self._plan.certified and is_cut_off(error):
            error.cause = Cause.CLIENT_CERTIFICATE_REFUSED
            hints = [_CERTIFICATE_HINT]
        elif error.cause is Cause.WRONG_KEY and self._plan.certified:
            hints = [_UNSEEN_CERTIFICATE, _RE_SIGNED]  # there is no key to be checked
        elif error.cause is Cause.CLIENT_CERTIFICATE_REFUSED and error.hop is Hop.REGISTER:
            hints.append(_RE_SIGNED)
        elif error.cause is Cause.PACKET_TOO_LARGE:
            hints = [_NO_ANSWER_OF_DPS]  # the limit is ours, and no option
        if self._evictions > 1 or any(self._registration.answers[code] for code in _CONFLICTS):
            hints.append(_ANOTHER_CLIENT)
        facts = []
        if isinstance(error, ConnectFailed | ConnectionLost | RequestTimedOut):
            if self._connections > 1:
                tried = f"{self._connections} connections were tried"
                if cut_off is not None:
                    tried += f", the time was over at {cut_off.value} of the last"
                facts.append(tried)
            if self._registration.asked and self._registration.describe() not in str(error):
                facts.append(self._registration.describe())
        hint, happened = "; ".join(filter(None, hints)), "; ".join(facts)
        error.hint = f"{hint} ({happened})" if hint and happened else hint or happened


def _describe(step: Step, registration: Registration) -> None:
    response = registration.last_response
    status = response.status if response is not None else 0
    state = f" {registration.status}" if 200 <= status < 300 else ""
    named = response is not None and response.retry_after is not None
    step.status = status
    step.retry_after = registration.retry_after if named else None
    step.detail = f"{status}{state}"
    if (wait := registration.retry_after) is not None:
        step.detail += f", {'ask again' if named else 'no wait named: asked again'} in {wait:g} s"
