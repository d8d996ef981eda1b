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
import errno
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

import aiohttp
import psutil
from aiohttp import web
from livekit import api, rtc
from livekit.agents import AgentServer, AutoSubscribe, JobContext, JobProcess, JobRequest
from livekit.agents.ipc.job_executor import JobStatus
from livekit.agents.worker import WorkerPermissions
from livekit.protocol import models
from livekit.rtc._ffi_client import FfiClient

from triage import engines, privacy
from triage.admission import MB, Admission
from triage.answering import RESCUE, Place, Ready, carry, desk_of, rooms_of, script_of, tools_of
from triage.clock import Clock, stopwatch
from triage.config import Settings
from triage.doctor import production_obstacles
from triage.errors import SettingError, TriageError, Unavailable, UsageError
from triage.handoff.desk import FileDesk
from triage.latencies import SharedWindow
from triage.lines.livekit.headers import caller_number
from triage.lines.livekit.line import LiveKitLine
from triage.lines.livekit.rooms import AGENT, SIP
from triage.lines.livekit.signalling import ServerSignalling
from triage.rescues import Rescues
from triage.rescues import Server as Told
from triage.stages.silero import SileroVoiceActivity
from triage.up import line_files, provision
from triage.up.line_files import LOOPBACK, Line
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
HAND_OVER_S = 14.0
"""How long the worker waits for that, s; the library would give it 15."""
REFILL_AFTER_S = 3.0
"""A process in the place of one that took a call is made after this, or when it is needed, s."""
TRUNK_WITHIN_S = 3.0
"""livekit-server has told the nurse trunk within this, or the call does without, s."""
ENTERED_WITHIN_S = 10.0
"""A room that cannot be entered within this is not entered at all; who rings goes back to the carrier, s."""
CLOSED_WITHIN_S = 2.0
RESCUE_WITHIN_S = 5.0
"""livekit-server has sent another process to a caller within this, s."""
RULE_ATTRIBUTE = "sip.ruleID"
"""Participants who came in by a dispatch rule have it; the nurses that we dial have not."""
RESCUED_LOOK_S = 0.05
RESCUED_WITHIN_S = 8.0
"""The process that is sent to the caller of a call that broke is in the room within this, or it never comes, s."""
NOBODY = "unregistered"
"""What the library calls a server that livekit-server does not know."""
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
    asyncio.run(_greeted_by_server(line))
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
    """Everything a call's process will load, once, so that what is wrong is said now."""
    if settings.profile == "production" and (obstacles := production_obstacles(settings)):
        raise SettingError(f"setting profile: production is refused: {obstacles[0]} (all: triage doctor)")
    desk_of(settings)
    script_of(settings)
    loaded = engines.load(settings, writer=f"worker-{os.getpid()}", deferred=True)
    loaded.engines.close()
    if loaded.warning:
        log.warning("%s", loaded.warning)


async def _greeted_by_server(line: Line) -> None:
    """Our key is right. A server that is not there is no reason to end: it may come.

    Raises:
        UsageError: it refuses our key.
    """
    client = api.LiveKitAPI(
        line.api_url,
        line.access.api_key,
        line.access.api_secret,
        timeout=aiohttp.ClientTimeout(total=5.0),
        failover=False,
    )
    try:
        await client.room.list_rooms(api.ListRoomsRequest(names=["none"]))
    except api.ServerError as error:
        if error.status in (401, 403):
            raise UsageError(
                f"livekit-server on port {line.ports.server} refuses our key; it was started with other secrets: "
                "end it and run `triage up`"
            ) from None
        log.warning("livekit-server on port %d is not well (%s); going on", line.ports.server, error.code)
    except (aiohttp.ClientError, TimeoutError):
        log.warning("livekit-server on port %d does not answer yet; it is tried again and again", line.ports.server)
    finally:
        await client.aclose()


# --- the worker's own process


async def _serve(settings: Settings, line: Line) -> int:
    rooms_of(settings).forget(wall_ns=Clock().wall_ns())
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
            rescues = _rescues(server, settings, line, group)
            watching = group.create_task(rescues.watch())
            running = group.create_task(server.run(devmode=False))
            stop = group.create_task(ending.wait())
            await asyncio.wait((running, stop), return_when=asyncio.FIRST_COMPLETED)
            rescues.over = True
            watching.cancel()
            if not running.done():
                await _drained(server, settings)
                await server.aclose()
            stop.cancel()
    except BaseExceptionGroup as group_error:
        raise leaf(group_error) from None
    log.info("worker: ended")
    return 0


def _rescues(server: AgentServer, settings: Settings, line: Line, group: asyncio.TaskGroup) -> Rescues:
    """What sends others to callers who are alone, told of what happens to this server."""
    rooms = _Rooms(line)
    rescues = Rescues(
        Told(
            known=lambda: _known(server),
            rooms=rooms.names,
            alone=rooms.alone,
            send=functools.partial(_send, line, settings),
            busy=lambda: {info.job.room.name for info in server.active_jobs},
        ),
        rooms_of(settings),
        group,
    )

    def process_closed(process: Any) -> None:
        info = process.running_job
        if info is not None and process.status is JobStatus.FAILED:
            rescues.died(info.job.room.name, rescuing=info.job.metadata == RESCUE)

    def started() -> None:
        server._proc_pool.on("process_closed", process_closed)
        server._proc_pool.on("process_created", _forking)

    server.on("worker_started", started)
    server.on("worker_registered", lambda *_: rescues.taken_on())
    return rescues


@asynccontextmanager
async def _asking(line: Line) -> AsyncIterator[api.LiveKitAPI]:
    client = api.LiveKitAPI(line.api_url, line.access.api_key, line.access.api_secret, failover=False)
    try:
        async with asyncio.timeout(RESCUE_WITHIN_S):
            yield client
    finally:
        await client.aclose()


class _Rooms:
    """Rooms of our calls, as livekit-server tells them. Raises what the library raises, TimeoutError among it."""

    def __init__(self, line: Line) -> None:
        self._line, self._beginning = line, f"{provision.ROOM_PREFIX}_"

    async def names(self) -> list[str]:
        """Of those with somebody in them, by their names."""
        async with _asking(self._line) as client:
            rooms = (await client.room.list_rooms(api.ListRoomsRequest())).rooms
        return [room.name for room in rooms if room.num_participants and room.name.startswith(self._beginning)]

    async def alone(self, name: str) -> bool:
        """A caller is in this room, and no agent."""
        async with _asking(self._line) as client:
            there = (await client.room.list_participants(api.ListParticipantsRequest(room=name))).participants
        if any(one.kind == AGENT for one in there):
            return False
        return any(one.kind == SIP and one.attributes.get(RULE_ATTRIBUTE) for one in there)


async def _send(line: Line, settings: Settings, room: str, metadata: str) -> None:
    """Have a process sent to the caller in this room. Raises what the library raises, TimeoutError among it."""
    async with _asking(line) as client:
        await client.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name=settings.line_agent, room=room, metadata=metadata)
        )


def _known(server: AgentServer) -> bool:
    """livekit-server knows us."""
    return server.id != NOBODY and not server._connecting  # 1.8.9, pinned: nothing public says it


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

    async def tell(_: web.Request) -> web.Response:
        if not _known(server):
            return web.Response(status=503, text="livekit-server does not know us (yet)\n")
        if failures >= FAILURES:
            return web.Response(status=503, text="processes cannot be made ready; see the log\n")
        return web.Response(text=f"{admission.headroom(len(server.active_jobs))}\n")

    server.on("worker_started", follow)

    app = web.Application()
    app.add_routes([web.get("/", tell)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise UsageError(
            f"port {port} (setting line_worker_port) is taken; end what holds it or set another"
        ) from error
    finally:
        await runner.cleanup()


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
    found = admission.headroom(len(server.active_jobs))
    if found.refusal and request.job.metadata != RESCUE:
        log.warning("a call is refused: %s; %s", found.refusal, found)
        await request.reject(terminate=False)
        return
    log.info("a call is taken: %s", found)
    admission.took()
    _refill_later(server)
    try:
        await request.accept(name="agent")
    finally:
        admission.begun()


def _refill_later(server: AgentServer) -> None:
    """The process that takes the place of this call's loads for a second: not while the greeting begins."""
    pool = server._proc_pool  # 1.8.9, pinned: what is public tells no target

    def change(by: int) -> None:
        pool.set_target_idle_processes(pool.target_idle_processes + by)

    if pool.target_idle_processes > 0:
        change(-1)
        asyncio.get_running_loop().call_later(REFILL_AFTER_S, change, 1)


async def _drained(server: AgentServer, settings: Settings) -> None:
    """Take no more calls; let those in progress end, then bring the rest to a nurse."""
    log.info("worker: ending; calls in progress: %d", len(server.active_jobs))
    try:
        await server.drain()
    except TimeoutError:
        pids = [process.pid for process in _call_processes(server)]
        log.warning("worker: %d calls are left after %.0f s: nurses take over", len(pids), settings.worker_drain_s)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, HAND_OVER)
        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_S):
                for process in _call_processes(server):
                    await process.join()


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
    loaded = engines.load(settings, writer=f"call-{os.getpid()}", deferred=True)
    multiprocessing.util.Finalize(None, loaded.engines.writer.close, exitpriority=1)
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
        ready.end()
        loop.call_later(CUT_AFTER_S, task.cancel)

    loop.add_signal_handler(HAND_OVER, end)
    access = _Access(context, line_files.opened(ready.settings), ready.settings)
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
        await carry(ready, place, rescue=context.job.metadata == RESCUE)
    except asyncio.CancelledError:
        with suppress(asyncio.CancelledError, Exception):  # who looks for callers that are alone must not find us there
            async with asyncio.timeout(CLOSED_WITHIN_S):
                await context.room.disconnect()
        raise
    finally:
        await access.close()
        context.shutdown(reason="call over")


def _orphaned() -> bool:
    """The worker that made this process is gone."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


class _Access:
    """One job's way to its room and to livekit-server."""

    def __init__(self, context: JobContext, line: Line, settings: Settings) -> None:
        self._context, self._line, self._settings = context, line, settings
        self._trunk = ""
        self._signalling: ServerSignalling | None = None

    async def enter(self) -> None:
        """Connect to the room, asking for the nurse trunk meanwhile."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ask_trunk())
                async with asyncio.timeout(ENTERED_WITHIN_S):
                    await self._context.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE)
        except* Exception as raised:  # the SDK's own; what it says may name the room
            log.error("the room cannot be entered (%s)", type(leaf(raised)).__name__)
            raise Unavailable("line", "room cannot be entered") from None

    async def _ask_trunk(self) -> None:
        try:
            async with asyncio.timeout(TRUNK_WITHIN_S):
                self._trunk = await provision.nurse_trunk_id(self._line)
        except (UsageError, TimeoutError):  # a REFER needs none
            log.warning("livekit-server tells no nurse trunk: nurses cannot be dialled in this call")

    def callers(self) -> list[Any]:
        """Who came in by a dispatch rule; the nurses that we dial did not."""
        sip = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
        found = self._context.room.remote_participants.values()
        return [one for one in found if one.kind == sip and one.attributes.get(RULE_ATTRIBUTE)]

    async def line_to(self, caller: str, clock: Clock, desk: FileDesk) -> LiveKitLine:
        """The line to one of them."""
        line, room = self._line, self._context.room
        self._signalling = ServerSignalling(
            line.url,
            line.access.api_key,
            line.access.api_secret,
            room.name,
            self._trunk,
            self._settings.line_nurse_address,
            self._settings.line_number,
        )
        job = self._context.job
        return LiveKitLine(
            room,
            caller,
            signalling=self._signalling,
            clock=clock,
            address_of=desk.uri,
            series=job.id[-6:] if job.metadata == RESCUE else "",
        )

    async def rescue(self) -> None:
        """Have another process sent to the caller, and wait until it is in the room.

        Raises:
            Unavailable: nobody could be asked, or none came.
        """
        room = self._context.room
        agent = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        before = set(room.remote_participants)
        try:
            async with asyncio.timeout(RESCUED_WITHIN_S):
                await _send(self._line, self._settings, room.name, RESCUE)
                while not any(  # noqa: ASYNC110 events would need a handler for a thing that happens once
                    one.kind == agent for name, one in room.remote_participants.items() if name not in before
                ):
                    await asyncio.sleep(RESCUED_LOOK_S)
        except TimeoutError:
            raise Unavailable("worker", "nobody came") from None
        except Exception as error:  # the library's own
            raise Unavailable("worker", type(error).__name__) from None

    async def close(self) -> None:
        """Give up the connections to the server's API; the room is left by the job's end."""
        if self._signalling is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSED_WITHIN_S):
                    await self._signalling.close()
