"""`triage demo`: one simulated call in one process, from ring to report.

1. Read everything that may be wrong (settings, scenario, sounds, clips, protocols, rules, keys) before anybody rings.
2. Live through the call, in real or virtual time, with screen and log as observers.
3. Ctrl-C once: the caller hangs up, and the call ends by its own rules: drained, sealed, summarised. Twice: at once.
4. Write the stereo recording and the summary's page (its caller is a machine), verify the record, print the report.
"""

import asyncio
import shutil
import signal
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from audit.errors import AuditError
from audit.folder import AuditFolder
from audit.reader import Reader
from audit.store import SqliteStore
from audit.writers import writer_id
from triage.call import Engines, Equipment, Finished, LiveCall, new_call_id
from triage.clock import Clock, busy_hook
from triage.clock import run as run_loop
from triage.config import Settings
from triage.demo import cast
from triage.demo.call_log import CallLog
from triage.demo.patient import Patient
from triage.demo.report import Ending, print_report
from triage.demo.scenario import Scenario
from triage.demo.scenario import load as load_scenario
from triage.demo.screen import Screen
from triage.engines import load as load_engines
from triage.errors import AssetError, SettingError, UsageError
from triage.keeper import Keeper
from triage.lines.nurse_phones import NursePhone
from triage.stages.silero import SileroVoiceActivity
from triage.summary import Summary
from triage.tools import FakeTools
from triage.trace import Measured, Noted
from triage.watch import Watch

LIMITS = (
    "recogniser: the local one, for demos and tests on synthetic 16 kHz voices only; "
    "on real voices or telephone audio it is useless"
)
SCRIPTED = "recogniser: scripted, it repeats what the scenario says; nothing is recognised"
SWITCH_S = 0.001
"""How long the interpreter lets one thread work before another may: the screen's must not hold the call's."""
AFTER_TRANSFER_S = 60.0
"""How long the recording goes on when the carrier has taken the caller."""
PLAYERS = (("aplay", "-q"), ("paplay",), ("afplay",))


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOrder:
    """What was asked for at the terminal."""

    scenario: str = "whole_way"
    fast: bool = False
    play: bool = False
    say: tuple[str, ...] = ()
    wav: tuple[Path, ...] = ()
    seed: int | None = None


@dataclass(slots=True)
class _Stage:
    """Everything that is ready before the phone rings."""

    scenario: Scenario
    recogniser: str
    patient: Patient
    phones: dict[str, NursePhone]
    engines: Engines
    folder: AuditFolder
    seed: int | None
    screen: Screen | None = None
    log: CallLog = field(default_factory=CallLog)
    call_id: str = ""
    interrupted: bool = False
    summaries: dict[str, Summary] = field(default_factory=dict)
    """Sealed by the keeper, by call."""
    files: dict[str, Path] = field(default_factory=dict)
    """What was left, by what it is."""
    troubles: list[str] = field(default_factory=list)
    """What went wrong beside the call, one line each."""


def run_demo(order: DemoOrder, settings: Settings) -> int:
    """Run one call; returns the exit code: 0 as expected, 1 not, 130 after Ctrl-C.

    Raises:
        TriageError: something is wrong that is known before the call, or an engine could not be started.
    """
    if settings.profile not in ("demo", "bench"):
        raise SettingError(f"setting profile: is {settings.profile}, and the demo is none; set it to demo")
    console = Console()
    stage = _prepared(order, settings, console)
    try:
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        try:
            finished = run_loop(_live(stage, console), virtual=order.fast)
        except asyncio.CancelledError:
            finished = None  # stopped at once: the record holds what was written, and a rescue or the keeper goes on
        finally:
            sys.setswitchinterval(before)
            if stage.screen is not None:
                stage.screen.stop()
    finally:
        stage.engines.close()
    if finished is None:
        console.print(
            "stopped at once; the record was not sealed, and ends with the last thing written", style="yellow"
        )
        console.print(f"  record    {stage.folder.database}", soft_wrap=True)
        return 130
    return _told(stage, finished, order, settings, console)


# --- before the call


def _prepared(order: DemoOrder, settings: Settings, console: Console) -> _Stage:
    if order.wav and settings.stt == "scripted":
        raise UsageError("--wav needs the local recogniser, and setting stt says scripted; set it to pocketsphinx")
    lines = cast.CallerLines()
    scenario = load_scenario(order.scenario)
    if order.say or order.wav:
        scenario = Scenario(
            schema=1, name="own_caller", title="A caller of your own", nurses=scenario.nurses, patience_s=40.0
        )
        patient = cast.own_patient(order.say, order.wav)
    else:
        patient = cast.patient_of(scenario, lines)
    recogniser = "scripted" if settings.stt == "scripted" else scenario.recogniser
    loaded = load_engines(settings, writer=writer_id("demo"), inline=order.fast, voice_busy=busy_hook("voice"))
    if loaded.warning:
        console.print(loaded.warning, style="yellow", soft_wrap=True)
    console.print(LIMITS if recogniser == "pocketsphinx" else SCRIPTED, style="dim", soft_wrap=True)
    return _Stage(
        scenario=scenario,
        recogniser=recogniser,
        patient=patient,
        phones=cast.phones_of(scenario.nurses, lines),
        engines=loaded.engines,
        folder=loaded.folder,
        seed=order.seed,
    )


# --- the call


async def _live(stage: _Stage, console: Console) -> Finished:
    clock, scenario, clips = Clock(), stage.scenario, stage.engines.clips
    stage.call_id = new_call_id(clock.wall_ns())
    line = cast.line_of(scenario, clock, stage.patient, stage.phones, stage.seed)
    desk = cast.desk_of(scenario.nurses)
    screen = stage.screen = Screen(
        scenario.title,
        recogniser=stage.recogniser,
        texts={prompt: clips.clip(prompt).text for prompt in clips.ids},
        console=console,
        now_ns=clock.now_ns,
    )
    observers = [
        screen.observe,
        stage.log.observe,
        cast.prompt_ears(stage.patient, scenario.answers),
        cast.nurse_voices(stage.phones, screen.observe),
    ]
    call = LiveCall(
        stage.call_id,
        stage.engines,
        Equipment(
            line=line,
            vad=SileroVoiceActivity.load(),
            stt=cast.recogniser_of(stage.recogniser, stage.patient, clock),
            desk=desk,
            tools=FakeTools(),
            media_during_refer=scenario.line.media_during_refer,
        ),
        clock,
        observers,
    )
    allowance = stage.engines.settings.allowance_ms(scenario.line.kind)
    call.observers.append(Watch().observer(call.runtime.page, allowance_ms=allowance))
    _end_on_interrupt(stage, screen, clock)
    screen.start()
    finished = await call.live()
    await _summarised(stage, finished, clock, screen)
    with suppress(TimeoutError):
        await asyncio.wait_for(line.over(), AFTER_TRANSFER_S)
    if stage.engines.settings.keep_audio:
        audio = stage.folder.root / "calls" / stage.call_id / "call.wav"
        try:
            audio.parent.mkdir(parents=True, exist_ok=True)
            line.write(audio)
            stage.files["audio"] = audio
        except (AssetError, OSError) as error:  # the call is over and its record sealed: that is not lost with it
            stage.troubles.append(f"the recording is not kept: {error}")
    await line.close()
    return finished


async def _summarised(stage: _Stage, finished: Finished, clock: Clock, screen: Screen) -> None:
    """Let the keeper do what it does in production: take the job from the outbox, write the summary, close the chain."""
    keeper = Keeper(stage.folder, stage.engines.writer, now_ns=clock.now_ns, wall_ns=clock.wall_ns)
    try:
        while stage.call_id not in stage.summaries:  # calls that were broken off before may be due first
            if not (written := await asyncio.to_thread(keeper.work)):
                break
            stage.summaries.update({item.call_id: item.summary for item in written})
    except AuditError as error:
        stage.troubles.append(f"no summary: {error}")
    if stage.call_id in stage.summaries:
        _write_page(stage)
        took = Measured(at_ns=clock.now_ns(), name="summary", ms=(clock.now_ns() - finished.ended_ns) / 1e6)
        screen.observe(took)
        stage.log.observe(took)


def _write_page(stage: _Stage) -> None:
    """The summary in the clear, readable by the owner only. Of the demo's own call alone: its caller is a machine."""
    if stage.engines.settings.profile != "demo":
        return
    page = stage.folder.root / "calls" / stage.call_id / "summary.md"
    try:
        page.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        page.touch(mode=0o600)
        page.write_text(stage.summaries[stage.call_id].text(), encoding="utf-8")
    except OSError as error:  # it lies sealed in the record all the same
        stage.troubles.append(f"the summary's page is not written: {page.parent}: {error.strerror}")
        return
    stage.files["summary"] = page


def _end_on_interrupt(stage: _Stage, screen: Screen, clock: Clock) -> None:
    """Ctrl-C hangs the caller up; a second one stops everything."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    def interrupt() -> None:
        if stage.interrupted and main is not None:
            main.cancel()
        stage.interrupted = True
        stage.patient.hung_up = True
        screen.observe(Noted(at_ns=clock.now_ns(), text="Ctrl-C: the caller hangs up; once more stops at once"))

    for asked in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(asked, interrupt)


# --- after the call


def _told(stage: _Stage, finished: Finished, order: DemoOrder, settings: Settings, console: Console) -> int:
    files = {**stage.files, "record": stage.folder.database}
    verified = verify_error = ""
    with closing(SqliteStore(stage.folder.database)) as store:
        reader = Reader(store, stage.folder.keyring(), spool=stage.folder.spool)
        try:
            proven = reader.verify(stage.call_id)
        except AuditError as error:
            verify_error = str(error)
        else:
            state = "closed" if proven.closed else "open"
            verified = f"{proven.records} records, {proven.opened} seals opened, chain {state}"
            made = finished.counts["records"]
            if proven.records < made:
                verify_error = (
                    f"{made - proven.records} of {made} records were not kept (what is there verifies): the disk under "
                    f"{settings.data_dir} is full or fails; free space or name another with --data"
                )
                verified = ""
    ending = Ending(
        call_id=stage.call_id,
        files=files,
        verified=verified,
        verify_error=verify_error,
        interrupted=stage.interrupted,
        code=stage.log.packets[-1].packet.code if stage.log.packets and stage.engines.post is not None else "",
    )
    allowance = settings.allowance_ms(stage.scenario.line.kind)
    right = print_report(console, stage.scenario, stage.log, ending, allowance_ms=allowance)
    for trouble in stage.troubles:
        console.print(trouble, style="bold red", soft_wrap=True)
    if order.play and "audio" in files:
        play(files["audio"], console)
    if stage.interrupted:
        return 130
    return 0 if right and not stage.troubles else 1


def play(audio: Path, console: Console) -> bool:
    """Play a recording where there is a player, else say so in one line; returns whether it was played."""
    for program, *options in PLAYERS:
        if shutil.which(program):
            done = subprocess.run([program, *options, str(audio)], check=False, capture_output=True)
            if done.returncode:
                console.print(f"{program} could not play {audio}: no sound device?", style="yellow", soft_wrap=True)
            return done.returncode == 0
    console.print(
        f"nothing here plays sound (apt-get install alsa-utils); listen to {audio}", style="yellow", soft_wrap=True
    )
    return False
