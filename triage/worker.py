"""`triage worker`: answers telephone calls. LiveKit's AgentServer hands them out; what happens in a call is ours alone.

1. What could send a caller's words elsewhere is off before anything of LiveKit runs (`triage.privacy`).
2. Settings, desk, script, clips and our key at livekit-server are looked at; what is wrong is one line, and no start.
3. The process that forks the others is started before our secret is in the environment, where the library puts it.
4. Processes stand ready with everything loaded; each carries one call (`triage.answering`) and ends.
5. SIGTERM: no new calls; those in progress have `worker_drain_s`; who is left is brought to a nurse. A second one: at once.

The only module that may import livekit.agents. No AgentSession, no recording, no dev mode: of the library we use the job's
way to a process, and the room.
"""

import asyncio
import functools
import logging
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.util
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psutil
from livekit.agents import AgentServer, AutoSubscribe, JobContext, JobProcess, JobRequest
from livekit.agents.ipc.job_executor import JobStatus
from livekit.agents.worker import WorkerPermissions
from livekit.protocol import models
from livekit.rtc._ffi_client import FfiClient

from audit.writers import writer_id
from fsm.alarms import PACKET_UNDELIVERED
from triage import engines, privacy
from triage.admission import MB, Admission
from triage.answering import RESCUE, Place, Ready, carry, desk_of, rooms_of, script_of, tools_of
from triage.clock import Clock, stopwatch
from triage.config import Settings
from triage.doctor import production_obstacles
from triage.errors import SettingError, TriageError
from triage.handoff.post import Post
from triage.latencies import SharedWindow
from triage.lines.livekit.access import Access
from triage.lines.livekit.callers import Callers, greeted
from triage.lines.livekit.headers import caller_number
from triage.rescues import Rescues
from triage.rescues import Server as Told
from triage.stages.silero import SileroVoiceActivity
from triage.up import line_files
from triage.up.line_files import LOOPBACK, Line
from triage.up.status_page import served
from triage.up.supervisor import leaf
from triage.watch import Watch

READY = "ready"
"""Key under which a process keeps what it has loaded."""
PRELOADED = (
    "triage.worker",
    "triage.lines.livekit.line",
    "triage.stages.pocketsphinx_stt",
    "livekit.agents.ipc.job_proc_lazy_main",
    "livekit.agents.ipc._preload",
    "livekit.agents.ipc._preload_freeze",
)
"""Imported once, in the process that forks the others; the last one freezes what was loaded and must stay last."""
PERMISSIONS = WorkerPermissions(
    can_publish=True,
    can_subscribe=True,
    can_publish_data=True,
    can_update_metadata=False,
    can_publish_sources=[models.TrackSource.MICROPHONE],
)
"""What our participant may do in a room. Data: room RPCs travel as such."""
READY_WITHIN_S = 40.0
"""A process has everything loaded within this, s."""
GONE_WITHIN_S = 12.0
"""A process whose call is over has ended within this, s."""
FAILED_PAUSE_S = 2.0
"""A process that could not be made ready keeps its place for this long, s."""
FAILURES = 3
"""So many processes in a row that could not be made ready: we are not well."""
ENDING = (signal.SIGTERM, signal.SIGINT)
"""Tell the worker to end; nobody else of ours hears them."""
HAND_OVER = signal.SIGUSR2
"""Tells a call's process to bring its caller to a nurse."""
CUT_AFTER_S = 12.0
"""How long that may take before our part in the call is cut off and the record sealed, s. Nurse and caller who talk stay."""
HAND_OVER_S = 32.0
"""How long the worker waits for that, and for the last words to whoever has no nurse by then (10 s), s."""
DRAIN_LOOK_S = 0.1
UNKNOWN_END = 255
"""Exit code of a process of which nobody knows how it ended, as who forked it is gone. It may live."""
REFILL_AFTER_S = 3.0
"""A process in the place of one that took a call is made after this, or when it is needed, s."""
CLOSED_WITHIN_S = 2.0
PACKETS_WITHIN_S = 20.0
"""So long a process outlives its call for nurses' packets that were not taken yet, s. It counts as a call meanwhile."""
NOBODY = "unregistered"
"""What the library calls us while livekit-server does not know us."""
TRIES = 1_000_000
"""How often livekit-server is tried again: always. A worker that gives up answers nobody when the server is back."""

log = logging.getLogger("triage.worker")


def work(settings: Settings, env: dict[str, str]) -> int:
    """Serve until a signal ends it; returns the exit code. `env`: our environment, replaced by what is left of it.

    Raises:
        TriageError: something is wrong that is known before the first call.
    """
    kept = privacy.pinned(env)
    os.environ.clear()
    os.environ.update(kept)
    line = line_files.opened(settings)
    privacy.install(sys.stderr, (line.access.api_secret, line.access.redis_password))
    _checked(settings)
    asyncio.run(greeted(line))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    _forking()
    return asyncio.run(_serve(settings, line))


def _forking(_: Any = None) -> None:
    """The process that forks the others is there, again where it died. Deaf to what is sent to our whole group.

    Its end would end every call, and so would a signal that a call's process takes for its own.
    """
    heard = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        for number, before in heard.items():
            signal.signal(number, before)


def _checked(settings: Settings) -> None:
    """Everything a call's process will load, once: what is wrong is said now."""
    if settings.profile == "production" and (obstacles := production_obstacles(settings)):
        raise SettingError(f"setting profile: production is refused: {obstacles[0]} (all: triage doctor)")
    desk_of(settings)
    script_of(settings)
    loaded = engines.load(settings, writer=writer_id("worker"), deferred=True)
    loaded.engines.close()
    if loaded.warning:
        log.warning("%s", loaded.warning)


# --- the worker's own process


async def _serve(settings: Settings, line: Line) -> int:
    for window in windows_of(settings):
        window.shorten()
    psutil.cpu_percent()
    admission = Admission(
        settings, cpu=lambda: psutil.cpu_percent() / 100, free_bytes=lambda: psutil.virtual_memory().available
    )
    server = make_server(settings, line, admission)
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()

    def asked() -> None:
        if ending.is_set():
            _at_once()
        ending.set()

    for number in ENDING:
        loop.add_signal_handler(number, asked)
    log.info("worker: %s at %s, %s; %s", settings.line_agent, line.url, settings.profile, admission.headroom(0))
    try:
        async with _health(server, admission, line.ports.worker), asyncio.TaskGroup() as group:
            rescues = _rescues(server, settings, line, admission, group)
            watching = [
                group.create_task(rescues.watch()),
                group.create_task(rooms_of(settings).tidied(Clock().wall_ns)),
            ]
            running = group.create_task(server.run(devmode=False))
            stop = group.create_task(ending.wait())
            await asyncio.wait((running, stop), return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await _drained(server, settings, admission, rescues)
                await server.aclose()
            rescues.over = True
            for task in (*watching, stop):
                task.cancel()
    except BaseExceptionGroup as group_error:
        raise leaf(group_error) from None
    log.info("worker: ended")
    return 0


def _rescues(
    server: AgentServer, settings: Settings, line: Line, admission: Admission, group: asyncio.TaskGroup
) -> Rescues:
    """What sends others to callers who are alone, told of what happens to this server."""
    callers = Callers(line, settings.line_agent)
    rescues = Rescues(
        Told(
            known=lambda: _known(server),
            rooms=callers.rooms,
            alone=callers.alone,
            send=callers.send,
            busy=lambda: {*admission.promised, *(info.job.room.name for info in server.active_jobs)},
            end=callers.end,
        ),
        rooms_of(settings),
        group,
    )

    def process_closed(process: Any) -> None:
        info = process.running_job
        if process.exitcode == UNKNOWN_END:
            _renewed(server, group)
        if info is not None and process.status is JobStatus.FAILED:
            rescues.died(info.job.room.name, rescuing=info.job.metadata == RESCUE)

    def started() -> None:
        server._proc_pool.on("process_closed", process_closed)
        server._proc_pool.on("process_created", _forking)

    server.on("worker_started", started)
    server.on("worker_registered", lambda *_: rescues.taken_on())
    return rescues


def _known(server: AgentServer) -> bool:
    """livekit-server knows us."""
    return server.id != NOBODY and not server._connecting  # 1.8.9, pinned: nothing public says it


def _renewed(server: AgentServer, group: asyncio.TaskGroup) -> None:
    """Others take the place of those that stand ready: who forked them is gone, and the library would cut their calls off."""
    ready = server._proc_pool._warmed_proc_queue
    while not ready.empty():
        group.create_task(ready.get_nowait().aclose())


@asynccontextmanager
async def _health(server: AgentServer, admission: Admission, port: int) -> AsyncIterator[None]:
    """Answers 200 while calls can come to us: everything loaded, and livekit-server knows us.

    Raises:
        UsageError: the port is taken.
    """
    failures = 0

    def process_closed(process: Any) -> None:
        nonlocal failures
        failures += process.running_job is None

    def process_ready(_: Any) -> None:
        nonlocal failures
        failures = 0

    def follow() -> None:
        nonlocal failures
        failures = FAILURES if server._proc_pool._warmed_proc_queue.empty() else 0
        server._proc_pool.on("process_closed", process_closed)
        server._proc_pool.on("process_ready", process_ready)

    def tell() -> tuple[bool, str]:
        if not _known(server):
            return False, "livekit-server does not know us (yet)"
        if failures >= FAILURES:
            return False, "processes cannot be made ready; see the log"
        return True, str(admission.headroom(len(server.active_jobs)))

    server.on("worker_started", follow)
    async with served(port, "line_worker_port", tell):
        yield


def make_server(settings: Settings, line: Line, admission: Admission) -> AgentServer:
    """LiveKit's server with every default that matters to us replaced."""
    server = AgentServer(
        ws_url=line.url,
        api_key=line.access.api_key,
        api_secret=line.access.api_secret,
        host=LOOPBACK,
        port=0,  # its health says well before any call can come to us; `_health` says it after
        http_proxy=None,
        num_idle_processes=settings.worker_idle_processes,
        setup_fnc=functools.partial(prewarm, settings),
        load_fnc=functools.partial(_load, admission),
        load_threshold=float("inf"),  # `_offered` decides: the library's own count refuses calls that ring together
        initialize_process_timeout=READY_WITHIN_S,
        shutdown_process_timeout=GONE_WITHIN_S,
        session_end_timeout=1.0,
        job_memory_warn_mb=settings.worker_call_memory_mb * 0.8,
        job_memory_limit_mb=settings.worker_call_memory_mb,
        drain_timeout=round(settings.worker_drain_s),
        max_retry=TRIES,
        permissions=PERMISSIONS,
        multiprocessing_context="forkserver",
        log_level="INFO",
    )
    server.rtc_session(entry, agent_name=settings.line_agent, on_request=functools.partial(_offered, server, admission))
    return server


def _load(admission: Admission, server: AgentServer) -> float:
    admission.measure()
    return admission.headroom(len(server.active_jobs)).load


async def _offered(server: AgentServer, admission: Admission, request: JobRequest) -> None:
    """Take a call where there is headroom; leave it to another worker where there is none."""
    found, room = admission.headroom(len(server.active_jobs)), request.job.room.name
    if admission.over or (found.refusal and request.job.metadata != RESCUE):
        log.warning("a call is refused: %s; %s", found.refusal, found)
        await request.reject(terminate=False)
        return
    log.info("a call is taken: %s", found)
    admission.took(room)
    _refill_later(server)
    try:
        await request.accept(name="agent")
    finally:
        admission.begun(room)


def _refill_later(server: AgentServer) -> None:
    """The process that takes the place of this call's loads for a second: not while the greeting begins."""
    pool = server._proc_pool  # 1.8.9, pinned: what is public tells no target

    def change(by: int) -> None:
        pool.set_target_idle_processes(pool.target_idle_processes + by)

    if pool.target_idle_processes > 0:
        change(-1)
        asyncio.get_running_loop().call_later(REFILL_AFTER_S, change, 1)


async def _drained(server: AgentServer, settings: Settings, admission: Admission, rescues: Rescues) -> None:
    """Take no more calls; let those in progress end, their callers rescued where one breaks; bring the rest to a nurse."""
    log.info("worker: ending; calls in progress: %d", len(server.active_jobs))
    admission.ending = rescues.ending = True
    with suppress(TimeoutError):
        async with asyncio.timeout(settings.worker_drain_s):
            while server.active_jobs or admission.promised or rescues.waiting:  # noqa: ASYNC110 of processes, three ways
                await asyncio.sleep(DRAIN_LOOK_S)
    admission.over = rescues.over = True
    if left := len(server.active_jobs):
        log.warning("worker: %d calls are left after %.0f s: nurses take over", left, settings.worker_drain_s)
    with suppress(TimeoutError):
        async with asyncio.timeout(HAND_OVER_S):
            while server.active_jobs or admission.promised:
                for process in _call_processes(server):
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, HAND_OVER)  # again and again: one that just begins does not hear it yet
                await asyncio.sleep(DRAIN_LOOK_S)


def _call_processes(server: AgentServer) -> list[Any]:
    """The library tells no pids; its pool does (1.8.9, pinned)."""
    return [process for process in server._proc_pool.processes if process.running_job is not None]


def _at_once() -> None:
    """The second signal: everything ends now; records end with the last thing written."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
    os._exit(1)


# --- a call's process


def prewarm(settings: Settings, process: JobProcess) -> None:
    """Load everything that a call needs; runs in each process before it stands ready.

    Raises:
        TriageError: it cannot be loaded (any more). The worker tries again, with the next process.
    """
    taken_s = stopwatch()
    for number in (*ENDING, HAND_OVER):  # the worker tells us; the last one once there is a caller to hand over
        signal.signal(number, signal.SIG_IGN)
    privacy.install()
    try:
        process.userdata[READY] = _loaded(settings)
    except Exception as error:  # whatever is missing: the log says it before the process ends
        log.error(
            "a process cannot be made ready: %s", error if isinstance(error, TriageError) else type(error).__name__
        )
        threading.Event().wait(FAILED_PAUSE_S)  # the library makes the next one at once
        raise
    FfiClient.instance  # noqa: B018 starts the SDK's threads, which would hold the call's loop for 100 ms
    used_mb = psutil.Process().memory_info().rss // MB
    log.info("a process stands ready: loaded in %.2f s, %d MB", taken_s(), used_mb)


def _loaded(settings: Settings) -> Ready:
    loaded = engines.load(settings, writer=writer_id("call"), deferred=True)
    multiprocessing.util.Finalize(None, loaded.engines.close, exitpriority=1)
    return Ready(
        settings=settings,
        engines=loaded.engines,
        folder=loaded.folder,
        rooms=rooms_of(settings),
        desk=desk_of(settings),
        vad=SileroVoiceActivity.load(),
        tools=tools_of(settings),
        watch=Watch(*windows_of(settings)),
    )


def windows_of(settings: Settings) -> tuple[SharedWindow, SharedWindow]:
    """Latencies of turns and of hand-offs, over all call processes of this data folder."""
    return SharedWindow(settings.data_dir / "turn_taking.window"), SharedWindow(
        settings.data_dir / "nurse_handoff.window"
    )


async def entry(context: JobContext) -> None:
    """One job: one call."""
    ready: Ready = context.proc.userdata[READY]
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def end() -> None:
        if not ready.ending:
            ready.end()
            loop.call_later(CUT_AFTER_S, task.cancel)

    loop.add_signal_handler(HAND_OVER, end)

    async def settle(_: str) -> None:
        await packets_settled(ready.engines.post)

    context.add_shutdown_callback(settle)
    rescuing = context.job.metadata == RESCUE
    access = Access(
        context.room,
        context.job.id,
        line_files.opened(ready.settings),
        ready.settings,
        rescuing=rescuing,
        connect=functools.partial(context.connect, auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE),
    )
    place = Place(
        name=context.job.room.name,
        enter=access.enter,
        callers=access.callers,
        line=access.line_to,
        number=lambda identity: caller_number(context.room, identity),
        gone=lambda: not context.room.isconnected(),
        rescue=access.rescue,
        orphaned=_orphaned,
    )
    try:
        await carry(ready, place, rescue=rescuing)
    except asyncio.CancelledError:
        with suppress(asyncio.CancelledError, Exception):  # who looks for callers that are alone must not find us there
            async with asyncio.timeout(CLOSED_WITHIN_S):
                await context.room.disconnect()
        raise
    finally:
        await access.close()
        context.shutdown(reason="call over")


async def packets_settled(post: Post | None) -> None:
    """The call is over and its room is left: nurses' packets that are still under way get their time, s, or somebody is woken."""
    if post is not None and (lost := await asyncio.to_thread(post.settle, PACKETS_WITHIN_S)):
        log.error("page %s: %d deliveries of a nurse's packet, after the end of its call", PACKET_UNDELIVERED, lost)


def _orphaned() -> bool:
    """The worker that made this process is gone."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()
