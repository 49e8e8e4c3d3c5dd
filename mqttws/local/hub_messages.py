"""Messages to the devices of one hub: queueing, expiry, completion and feedback."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from ..hub.service.codes import Fault
from ..hub.service.identity import Identity
from ..hub.service.queue import (
    CloudMessage,
    Ended,
    Feedback,
    enqueue,
    expire,
    feedback_wanted,
    purge,
)
from ..hub.service.records import Key, Record
from .hub_base import HubBase, not_found


class MessageWork(HubBase):
    """The queues of messages to devices."""

    # Messages to devices

    async def send(self, key: Key, message: CloudMessage) -> CloudMessage | Fault:
        """Queue a message to a device and deliver it if the device listens; return it as queued."""
        now = time.time()

        def rule(
            before: Record | None,
        ) -> tuple[Record | None, tuple[Record, Ended] | Fault]:
            if before is None:
                return before, not_found(key.module_id)
            ended = expire(before.queue, now)
            queue = enqueue(ended.queue, message, now)
            if isinstance(queue, Fault):
                return before, queue
            after = replace(before, queue=queue)
            return after, (after, ended)

        done = await self.change(key, rule)
        if isinstance(done, Fault):
            return done
        record, ended = done
        self._tell(record.identity, ended)
        self._watch_expiry(key, record)
        connection = self.connections.get((key.device_id, key.module_id))
        if connection is not None:
            connection.deliver()
        return record.queue.messages[-1]

    async def end_messages(
        self, key: Key, how: Callable[[Record, float], Ended]
    ) -> tuple[Record, Ended] | None:
        """Take messages out of a queue and give their senders the feedback they wanted."""
        now = time.time()

        def rule(before: Record | None) -> tuple[Record | None, tuple[Record, Ended] | None]:
            if before is None:
                return before, None
            ended = how(before, now)
            after = before
            if ended.queue is not before.queue:
                after = replace(before, queue=ended.queue)
            return after, (after, ended)

        done = await self.change(key, rule)
        if done is not None:
            self._tell(done[0].identity, done[1])
            self._watch_expiry(key, done[0])
        return done

    async def purge(self, key: Key) -> int | Fault:
        """Empty a device's queue; return how many messages were in it."""
        done = await self.end_messages(key, lambda record, _: purge(record.queue))
        return not_found(key.module_id) if done is None else len(done[1].ended)

    def _tell(self, identity: Identity, ended: Ended) -> None:
        for message, status in ended.ended:
            if feedback_wanted(message, status):
                self.feedback.add(
                    Feedback(
                        message.message_id,
                        status,
                        message.enqueued_at,
                        identity.device_id,
                        identity.generation_id,
                    )
                )
            self.events.add(
                "messageEnded",
                identity.device_id,
                messageId=message.message_id or None,
                statusCode=status,
            )

    def _watch_expiry(self, key: Key, record: Record) -> None:
        """See to it that the next message of a queue that expires does so in time."""
        timer = self._expiries.pop(key, None)
        if timer is not None:
            timer.cancel()
        if record.queue.messages:
            seconds = min(m.expires_at for m in record.queue.messages) - time.time()
            loop = asyncio.get_running_loop()
            self._expiries[key] = loop.call_later(max(0.0, seconds) + 0.001, self._expire, key)

    def _expire(self, key: Key) -> None:
        self._expiries.pop(key, None)
        self.spawn(self._expired(key))

    async def _expired(self, key: Key) -> None:
        await self.end_messages(key, lambda record, now: expire(record.queue, now))
