"""The background thread: starting, sharing, forking, dying, and the interpreter's exit."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from mqttws import (
    AsyncClient,
    Cause,
    Client,
    ConnectFailed,
    ConnectionLost,
    LoopThread,
    ProxyConfig,
    RequestTimedOut,
    ServiceFailed,
    UsageError,
)
from mqttws.loop_thread import wait_for
from tests.client.broker import Broker, broker


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    with LoopThread("test") as thread:
        yield thread


def with_broker(
    test: Callable[[Broker], Coroutine[Any, Any, None]],
) -> Callable[[], Coroutine[Any, Any, None]]:
    async def run() -> None:
        async with broker(websocket=True) as server:
            await test(server)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def url_of(server: Broker) -> str:
    return f"ws://127.0.0.1:{server.port}/mqtt"


async def one() -> int:
    return 1


async def for_ever() -> None:
    await asyncio.Event().wait()


def waiting_for(
    thread: LoopThread, work: Callable[[], Any]
) -> tuple[threading.Thread, list[ConnectionLost]]:
    """Call from a thread of its own; the list gets the error with which the call is lost."""
    found: list[ConnectionLost] = []

    def wait() -> None:
        try:
            thread.call(work)
        except ConnectionLost as error:
            found.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    return waiting, found


def test_it_starts_with_the_first_call_and_starting_twice_is_no_harm() -> None:
    thread = LoopThread()
    assert thread.call(one) == 1
    thread.start()
    thread.start()
    assert thread.call(one) == 1
    thread.close()
    thread.close()


def test_after_its_end_each_call_is_an_error_at_once(thread: LoopThread) -> None:
    assert thread.call(one) == 1
    thread.close()
    with pytest.raises(ServiceFailed) as caught:
        thread.call(one)
    assert caught.value.cause is Cause.THREAD_ENDED
    with pytest.raises(ServiceFailed):
        thread.start()
    assert not thread.post(lambda: None)


def test_who_waits_as_it_closes_gets_an_error(thread: LoopThread) -> None:
    thread.start()
    waiting, found = waiting_for(thread, for_ever)
    while not thread.call(count_tasks):
        pass
    thread.close()
    waiting.join(10)
    assert len(found) == 1


def test_a_call_ends_with_the_future_that_its_work_began(thread: LoopThread) -> None:
    def begun(end: Callable[["asyncio.Future[int]"], object]) -> "asyncio.Future[int]":
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(end, future)
        return future

    def broken() -> "asyncio.Future[int]":
        raise KeyError("not begun")

    assert thread.call(lambda: begun(lambda future: future.set_result(7))) == 7
    with pytest.raises(OSError, match="its own"):
        thread.call(lambda: begun(lambda future: future.set_exception(OSError("its own"))))
    with pytest.raises(ConnectionLost):
        thread.call(lambda: begun(lambda future: future.cancel()))
    with pytest.raises(KeyError, match="not begun"):
        thread.call(broken)
    with pytest.raises(AttributeError):
        thread.call(lambda: 7)  # type: ignore[arg-type, return-value]
    assert thread.call(one) == 1


def test_a_future_that_no_caller_waits_for_any_more_is_cancelled(thread: LoopThread) -> None:
    futures: list[asyncio.Future[None]] = []

    def begin() -> "asyncio.Future[None]":
        futures.append(asyncio.get_running_loop().create_future())
        return futures[-1]

    with pytest.raises(RequestTimedOut):
        thread.call(begin, 0.01)
    thread.call(one)
    assert futures[0].cancelled()
    waiting, found = waiting_for(thread, begin)
    while len(futures) < 2:
        thread.call(one)
    thread.close()
    waiting.join(10)
    assert len(found) == 1
    assert futures[1].cancelled()


async def count_tasks() -> int:
    return len(asyncio.all_tasks()) - 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_dies_is_an_error_for_who_waits_and_for_who_comes(thread: LoopThread) -> None:
    def die() -> None:
        raise SystemExit(3)

    async def wait() -> None:
        asyncio.get_running_loop().call_soon(die)
        await asyncio.Event().wait()

    with pytest.raises(ConnectionLost):
        thread.call(wait)
    with pytest.raises(ServiceFailed):
        thread.call(one)


def test_a_time_limit_cancels_what_was_asked_for(thread: LoopThread) -> None:
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(RequestTimedOut) as caught:
        thread.call(wait, 0.05)
    assert caught.value.cause is Cause.OUT_OF_TIME
    assert ended.wait(10)


def test_an_error_of_the_work_that_is_a_time_out_comes_out_as_it_is(thread: LoopThread) -> None:
    async def late() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        thread.call(late, 30)


def test_a_call_from_inside_is_refused(thread: LoopThread) -> None:
    async def inside() -> None:
        thread.call(one)

    with pytest.raises(UsageError, match="never end"):
        thread.call(inside)


def test_ctrl_c_while_a_call_waits_cancels_it(thread: LoopThread) -> None:
    ended = threading.Event()

    async def wait() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        thread.call(wait)
    assert ended.wait(10)


@pytest.mark.parametrize("way", ["call", "event"])
def test_ctrl_c_that_another_thread_takes_ends_the_wait(thread: LoopThread, way: str) -> None:
    async def wait() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    def post_and_wait() -> None:
        thread.post(lambda: os.kill(os.getpid(), signal.SIGINT))
        wait_for(threading.Event(), None)

    thread.call(one)  # a thread that takes the signal is there
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        with pytest.raises(KeyboardInterrupt):
            thread.call(wait) if way == "call" else post_and_wait()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@with_broker
async def test_a_forked_child_gets_a_clear_error_at_once(server: Broker) -> None:
    def use() -> bytes:
        with Client(url_of(server)) as client:
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                found = b""
                for call in (
                    lambda: client.publish("t", b"x", qos=1),
                    lambda: client.publish("t", b"x"),
                    lambda: client.subscribe("t"),
                    client.disconnect,
                ):
                    try:
                        call()
                    except UsageError as error:
                        found += error.cause.name.encode() + b" "
                os.write(writer, found)
                os._exit(0)
            os.close(writer)
            with os.fdopen(reader, "rb") as pipe:
                told = pipe.read()
            os.waitpid(child, 0)
            client.publish("t", b"still here", qos=1)
            return told

    assert await asyncio.to_thread(use) == b"FORKED " * 4


@with_broker
async def test_clients_share_a_thread_and_one_s_blocking_callback_costs_the_others_nothing(
    server: Broker,
) -> None:
    release = threading.Event()
    threads: set[str] = set()

    def slow(*_: object) -> None:
        threads.add(threading.current_thread().name)
        release.wait(20)

    def use() -> None:
        with LoopThread("shared") as thread:
            quick = Client(url_of(server), thread=thread, keep_alive=1)
            quick.connect()
            blocked = Client(url_of(server), thread=thread, on_packet=slow)
            connecting = threading.Thread(target=blocked.connect)
            connecting.start()
            began = time.monotonic()
            while time.monotonic() - began < 2.5:  # longer than the keep-alive allows
                quick.publish("t", b"x", qos=1)
                time.sleep(0.2)
            assert quick.connected
            release.set()
            connecting.join(20)
            blocked.disconnect()
            quick.publish("t", b"the thread goes on", qos=1)
            quick.disconnect()
            assert thread.call(one) == 1

    await asyncio.to_thread(use)
    assert threads == {"mqttws-callbacks"}


@with_broker
async def test_a_password_s_function_runs_beside_the_loop_and_may_be_async(server: Broker) -> None:
    found: list[str] = []

    def plain() -> str:
        found.append(threading.current_thread().name)
        return "secret"

    async def asynchronous() -> str:
        found.append(threading.current_thread().name)
        return "secret"

    def use() -> None:
        for password in (plain, asynchronous):
            client = Client(url_of(server), username="me", password=password)
            with client:
                client.publish("t", qos=1)

    await asyncio.to_thread(use)
    assert found == ["mqttws-callbacks", "mqttws-client"]


@with_broker
async def test_a_dropped_client_warns_and_leaves_the_server(server: Broker) -> None:
    async def collected(count: int) -> None:
        """Wait until the server is left: what the loop still holds goes a moment later."""
        async with asyncio.timeout(10):
            while len(server.closed) < count:
                gc.collect()
                await asyncio.sleep(0.01)

    def use() -> None:
        client = Client(url_of(server))
        client.connect()
        del client

    with pytest.warns(ResourceWarning, match="dropped without disconnect"):  # noqa: PT031
        await asyncio.to_thread(use)
        await collected(1)
    client = AsyncClient(url_of(server))
    await client.connect()
    with pytest.warns(ResourceWarning, match="dropped without disconnect"):  # noqa: PT031
        del client
        await collected(2)


AT_EXIT = """
import sys, threading, mqttws
client = mqttws.Client(sys.argv[1])
client.connect()
stream = client.messages()
def wait():
    try:
        stream.next()
    except mqttws.MqttwsError as error:
        print("told", error.cause.name, flush=True)
threading.Thread(target=wait, daemon=True).start()
print("leaving", flush=True)
"""


@with_broker
async def test_an_interpreter_that_exits_with_a_connected_client_does_so_at_once(
    server: Broker,
) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", AT_EXIT, url_of(server)],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("leaving")
    assert done.stderr == ""


def test_a_proxys_hook_that_blocks_holds_up_nobody_else(thread: LoopThread) -> None:
    asked, go = threading.Event(), threading.Event()

    def login(url: str) -> None:
        asked.set()
        assert go.wait(20)

    client = Client(
        "ws://broker.example/",
        proxy=ProxyConfig("http://127.0.0.1:9", login=login),
        connect_timeout=20,
        thread=thread,
    )

    def connect() -> None:
        with pytest.raises(ConnectFailed):
            client.connect()

    connecting = threading.Thread(target=connect)
    connecting.start()
    try:
        assert asked.wait(20)
        assert thread.call(one, 20) == 1  # the loop turns all the same
    finally:
        go.set()
        connecting.join(30)
    assert not connecting.is_alive()
