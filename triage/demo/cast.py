"""Puts a scenario on the stage: the patient with their sounds, the nurse phones, the bad line, the recogniser."""

import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from fsm import effects as fx
from fsm import events as ev
from fsm.events import Rung
from triage.audio import read_wav
from triage.clock import Clock
from triage.demo.patient import Cue, Patient
from triage.demo.patient import Utterance as Deed
from triage.demo.scenario import NurseSpec, Scenario, Utterance
from triage.errors import AssetError
from triage.handoff.desk import FileDesk, Target
from triage.lines.impairments import Impairments
from triage.lines.nurse_phones import NursePhone
from triage.lines.simulated import SimulatedLine
from triage.ports import Pcm
from triage.stages.flite_tts import synthesise
from triage.stages.pocketsphinx_stt import PocketsphinxSpeechToText
from triage.stages.scripted_stt import ScriptedSpeechToText
from triage.trace import Noted, Said, StepTaken, Trace

CALLER_VOICE = "awb"
"""Speaks what `--say` gives; another voice than ours."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One caller's or nurse's line."""

    text: str
    """Empty for a sound without words."""
    pcm: Pcm


class CallerLines:
    """What callers and nurses can say, by id; files are read when they are asked for."""

    def __init__(self) -> None:
        self._folder = resources.files("triage.demo.callers")
        try:
            listed = tomllib.loads((self._folder / "lines.toml").read_text(encoding="utf-8"))["line"]
            self._texts = {line["id"]: "" if "sound" in line else str(line["text"]) for line in listed}
        except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
            raise AssetError(f"{self._folder / 'lines.toml'} cannot be used; install the package again") from error

    def __contains__(self, line: object) -> bool:
        return line in self._texts

    def get(self, line: str) -> Spoken:
        """One line with its sound.

        Raises:
            AssetError: no such line, or its file is missing or unreadable.
        """
        if line not in self._texts:
            raise AssetError(f"no caller line {line} in triage/demo/callers/lines.toml; mend the scenario")
        with resources.as_file(self._folder / f"{line}.wav") as path:
            return Spoken(self._texts[line], read_wav(path))


def patient_of(scenario: Scenario, lines: CallerLines) -> Patient:
    """The caller of a scenario.

    Raises:
        AssetError: a line or its file is missing.
        Unavailable: something is to be said as text and the local voice is missing.
    """
    deeds = [_deed(utterance, lines) for utterance in scenario.caller]
    for prompt, said in scenario.answers.items():
        for line in (said,) if isinstance(said, str) else said:
            spoken = lines.get(line)
            deeds.append(Deed(pcm=spoken.pcm, text=spoken.text, cue=Cue.PROMPT, on_prompt=prompt, delay_s=0.4))
    return Patient(deeds, patience_s=scenario.patience_s)


def own_patient(say: Sequence[str], wav: Sequence[Path]) -> Patient:
    """A caller from texts and audio files, one per turn, texts first.

    Raises:
        AssetError: a file is missing or unreadable.
        Unavailable: a text is given and the local voice is missing.
    """
    deeds = [Deed(pcm=_synthesised(text), text=text, delay_s=0.6) for text in say]
    deeds += [Deed(pcm=read_wav(path), text=path.stem, delay_s=0.6) for path in wav]
    return Patient(deeds)


def phones_of(nurses: Sequence[NurseSpec], lines: CallerLines) -> dict[str, NursePhone]:
    """The nurse phones by their directory names.

    Raises:
        AssetError: what a nurse says is missing.
    """
    phones = {}
    for nurse in nurses:
        spoken = lines.get(nurse.says)
        phones[nurse.target] = NursePhone(
            behaviour=nurse.phone,
            pcm=spoken.pcm,
            text=spoken.text,
            answers_after_s=nurse.answers_after_s,
            key_after_s=nurse.accepts_after_s,
        )
    return phones


def desk_of(nurses: Sequence[NurseSpec]) -> FileDesk:
    """The nurse desk of a scenario: its targets in the order of its file, packets kept in memory."""
    return FileDesk(
        tuple(
            Target(
                Rung(
                    kind=nurse.kind,
                    target=nurse.target,
                    declared=nurse.declared,
                    answer_within_s=nurse.answer_within_s,
                    gives_person_sign=nurse.gives_person_sign,
                ),
                uri=f"sip:{nurse.target}@nurses.invalid",
            )
            for nurse in nurses
        )
    )


def line_of(
    scenario: Scenario, clock: Clock, patient: Patient, phones: dict[str, NursePhone], seed: int | None
) -> SimulatedLine:
    """The telephone line of a scenario."""
    line = scenario.line
    impairments = Impairments(
        mulaw=line.mu_law,
        noise_db=line.noise_db,
        loss=line.loss,
        jitter_ms=line.jitter_ms,
        echo_db=line.echo_db,
        echo_ms=line.echo_ms,
        seed=scenario.seed if seed is None else seed,
    )
    return SimulatedLine(clock, patient, phones, impairments=impairments, media_during_refer=line.media_during_refer)


def recogniser_of(which: str, patient: Patient, clock: Clock) -> PocketsphinxSpeechToText | ScriptedSpeechToText:
    """The recogniser of a scenario; a scripted one is told what the patient says as they say it."""
    if which == "pocketsphinx":
        return PocketsphinxSpeechToText(busy=clock.busy_hook("recogniser"))
    stt = ScriptedSpeechToText()
    patient.listener = stt.cue
    return stt


def prompt_ears(patient: Patient, answered: Collection[str]) -> Callable[[Trace], None]:
    """Observer by which the patient learns which of our prompts has just ended.

    `answered`: prompts the scenario has answers to. A question's other wordings (`ask.age.again`) get its answer too.
    """

    def observe(trace: Trace) -> None:
        if isinstance(trace, Said) and trace.prompt and not trace.cut_off:
            plain = trace.prompt.removesuffix(".again").removesuffix(".other")
            patient.heard_prompt(plain if trace.prompt not in answered else trace.prompt, "finished")

    return observe


def nurse_voices(phones: Mapping[str, NursePhone], show: Callable[[Trace], None]) -> Callable[[Trace], None]:
    """Observer that shows what a nurse says when she gets the caller: her voice is on the line, not in our traces."""
    called: dict[int, str] = {}

    def observe(trace: Trace) -> None:
        if not isinstance(trace, StepTaken):
            return
        step = trace.step
        called.update({order.attempt: order.target for order in step.effects if isinstance(order, fx.Transfer)})
        match step.event:
            case ev.NurseAccepted(attempt=attempt) if step.after.handoff.bridged == attempt:
                pass
            case ev.TransferAnswered(attempt=attempt, takes_caller=True):
                pass
            case _:
                return
        if (phone := phones.get(called.get(attempt, ""))) is not None and phone.text:
            show(Noted(at_ns=trace.at_ns, text=f"nurse {called[attempt]}: {phone.text}"))

    return observe


def _deed(utterance: Utterance, lines: CallerLines) -> Deed:
    if utterance.line:
        spoken = lines.get(utterance.line)
    elif utterance.say:
        spoken = Spoken(utterance.say, _synthesised(utterance.say))
    else:
        spoken = Spoken("", Deed().pcm)
    return Deed(
        pcm=spoken.pcm,
        text=spoken.text,
        cue=Cue(utterance.when),
        delay_s=utterance.delay_s,
        on_prompt=utterance.prompt or None,
        keys=utterance.key,
        hang_up=utterance.hang_up,
    )


def _synthesised(text: str) -> Pcm:
    pcm, _ = synthesise(text, CALLER_VOICE)
    return pcm
