"""What is here, what is missing, and what would stop a start: read-only, and it never raises.

Three questions, in this order: can this machine run the demo; which engine stands behind each stage, and is it local;
what would refuse a production start with these settings.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path

from audit.folder import AuditFolder
from classifiers import load as load_classifier
from classifiers.model import ModelFileError
from classifiers.rulebook import RuleFileError
from triage.clips import ClipLibrary
from triage.config import Settings
from triage.dialogue.interview import Book
from triage.errors import TriageError
from triage.handoff.desk import read_targets

NEEDED_MB = 200
"""Free space the data folder should have, MB; a demo call takes about 10."""


class Verdict(StrEnum):
    """How one finding weighs."""

    GOOD = "good"
    NOTE = "note"  # works, with less
    MISSING = "missing"  # the demo cannot run


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    subject: str
    verdict: Verdict
    words: str
    """What is there, or what is missing and the remedy; one line."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Which engine stands behind a port."""

    port: str
    engine: str
    local: bool
    production: bool
    """Whether a production start accepts it."""
    remark: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Everything the demo needs, looked at one by one."""
    return [
        _python(),
        *_packages(),
        _voice(),
        *_models(),
        *_rules_and_protocols(settings),
        _clips(settings),
        _data_folder(settings.data_dir),
        *_rights(settings.data_dir),
        _nurses(settings),
        _speaker(),
    ]


def stages(settings: Settings, *, telephone: bool = False) -> list[Stage]:
    """The engines these settings choose: for the demo, or for calls by `telephone`, the only ones that production has."""
    demo_only = "serves demos and tests only: useless on telephone audio and real voices"
    return [
        _telephone_line(settings)
        if telephone
        else Stage("line", "simulated", True, False, "of the demo; telephones ring a LiveKit line (extra `worker`)"),
        Stage("voice activity", "silero", True, True),
        Stage("speech to text", settings.stt, True, False, demo_only),
        Stage("language model", settings.llm, True, True, "the scripted interviewer: fixed wording"),
        Stage("text to speech", settings.tts, True, True),
        Stage("nurse desk", "file", True, True),
        Stage("audit store", "sqlite", True, False, "one machine; production keeps its record in PostgreSQL"),
        Stage("keyring", "file", True, False, "the private key lies beside the record"),
    ]


def _telephone_line(settings: Settings) -> Stage:
    fit = settings.line_sip == "livekit-sip"
    return Stage(
        "line",
        f"LiveKit with {settings.line_sip}",
        True,
        fit,
        "" if fit else "is for development and drills (setting line_sip: livekit-sip)",
    )


def missing_settings(settings: Settings) -> list[str]:
    """Settings without a default that a production start needs."""
    return [] if settings.nurse_directory else ["nurse_directory: who is called, in which order"]


def production_obstacles(settings: Settings) -> list[str]:
    """Everything for which a production start would be refused, one line each."""
    obstacles = [
        f"{stage.port}: {stage.engine} {stage.remark}".strip()
        for stage in stages(settings, telephone=True)
        if not stage.production
    ]
    obstacles += [f"setting {line}" for line in missing_settings(settings)]
    if settings.keep_audio:
        obstacles.append("setting keep_audio: audio is kept in the clear; set it to false")
    try:
        ClipLibrary.load(settings.language, settings.region, placeholders=False)
    except TriageError as error:
        obstacles.append(f"clips: {error}")
    obstacles.append(
        "checkpoints: this version makes none, so a record that was cut off at its end, or written anew by somebody who "
        "can write the store, is not found; production needs signed ones in a second place"
    )
    return obstacles


def demo_can_run(findings: Iterable[Finding]) -> bool:
    """Whether nothing that the demo needs is missing."""
    return all(finding.verdict is not Verdict.MISSING for finding in findings)


def _python() -> Finding:
    words = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] == (3, 12):
        return Finding("python", Verdict.NOTE, f"{words}; the local recogniser has no wheel for 3.12: use 3.11 or 3.13")
    return Finding("python", Verdict.GOOD, words)


def _packages() -> list[Finding]:
    findings = []
    for module, distribution, use in (
        ("pocketsphinx", "pocketsphinx", "local recogniser"),
        ("onnxruntime", "onnxruntime", "voice activity"),
        ("soundfile", "soundfile", "reading audio files"),
        ("soxr", "soxr", "sample rates"),
        ("cryptography", "cryptography", "sealing"),
        ("sqlmodel", "sqlmodel", "store"),
        ("transitions", "transitions", "machine"),
    ):
        if importlib.util.find_spec(module) is None:
            words = f"{distribution} is not installed ({use}); make demo installs it"
            findings.append(Finding(module, Verdict.MISSING, words))
        else:
            findings.append(Finding(module, Verdict.GOOD, f"{importlib.metadata.version(distribution)}, {use}"))
    for extra, modules in (("worker", ("livekit",)), ("vendors", ("deepgram", "openai", "cartesia"))):
        there = [module for module in modules if importlib.util.find_spec(module) is not None]
        words = f"{', '.join(there)}" if there else "not installed; not needed without a key"
        findings.append(Finding(f"extra {extra}", Verdict.GOOD if there else Verdict.NOTE, words))
    return findings


def _voice() -> Finding:
    try:
        for library in ("flite", "flite_usenglish", "flite_cmulex"):
            ctypes.CDLL(f"lib{library}.so.1")
    except OSError:
        remedy = "not installed; rendered wording is spoken all the same (apt-get install libflite1)"
        return Finding("local voice", Verdict.NOTE, remedy)
    return Finding("local voice", Verdict.GOOD, "flite")


def _models() -> list[Finding]:
    findings = []
    folder = resources.files("triage.stages")
    for name, place, use in (
        ("silero_vad.onnx", folder / "models" / "silero_vad.onnx", "voice activity"),
        ("triage.arpa.gz", folder / "lm" / "triage.arpa.gz", "what the local recogniser expects to hear"),
    ):
        if place.is_file():
            findings.append(Finding("model", Verdict.GOOD, f"{name}, {len(place.read_bytes()) // 1024} KiB, {use}"))
        else:
            findings.append(Finding("model", Verdict.MISSING, f"{place} is missing ({use}); install the package again"))
    return findings


def _rules_and_protocols(settings: Settings) -> list[Finding]:
    findings = []
    try:
        classifier = load_classifier()
        versions = ", ".join(f"{part} {version}" for part, version in classifier.versions)
        findings.append(Finding("red flags", Verdict.GOOD, f"{len(classifier.rules.flags)} findings ({versions})"))
    except (RuleFileError, ModelFileError) as error:
        findings.append(Finding("red flags", Verdict.MISSING, f"{error}; mend that file"))
    try:
        protocols = Book.load(settings.region).protocols
        words = f"{len(protocols)}, a sample: not for clinical use until the clinical lead approves"
        findings.append(Finding("protocols", Verdict.GOOD, words))
    except TriageError as error:
        findings.append(Finding("protocols", Verdict.MISSING, str(error)))
    return findings


def _clips(settings: Settings) -> Finding:
    try:
        clips = ClipLibrary.load(settings.language, settings.region)
        clips.check_numbers(
            emergency=settings.emergency_number, crisis=settings.crisis_number, poison=settings.poison_number
        )
    except TriageError as error:
        return Finding("clips", Verdict.MISSING, str(error))
    words = f"{len(clips)} for {settings.language}, {settings.region}; all hashes agree, numbers are the settings' own"
    return Finding("clips", Verdict.GOOD, words)


def _data_folder(folder: Path) -> Finding:
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Finding("data folder", Verdict.MISSING, f"{folder} cannot be written; name another with --data")
    free = shutil.disk_usage(place).free // 2**20
    if free < NEEDED_MB:
        return Finding("data folder", Verdict.MISSING, f"{folder} has {free} MB left; free some or use --data")
    return Finding("data folder", Verdict.GOOD, f"{folder} ({free} MB free)")


def _rights(folder: Path) -> list[Finding]:
    """Who may look at what lies there; nothing where nothing does."""
    audit = AuditFolder(folder)
    if not audit.database.exists():
        return []
    if not (exposed := audit.exposed()):
        return [Finding("rights", Verdict.GOOD, "what lies in the data folder is its owner's alone")]
    names = ", ".join(str(path) for path in exposed[:3]) + (f" and {len(exposed) - 3} more" if len(exposed) > 3 else "")
    return [Finding("rights", Verdict.NOTE, f"others may look at {names}; the next start closes it: or chmod go= it")]


def _nurses(settings: Settings) -> Finding:
    if settings.nurse_directory is None:
        return Finding("nurse directory", Verdict.NOTE, "none set; the demo takes its nurses from the scenario")
    try:
        targets = read_targets(settings.nurse_directory)
    except TriageError as error:
        return Finding("nurse directory", Verdict.MISSING, str(error))
    return Finding("nurse directory", Verdict.GOOD, f"{len(targets)} targets in {settings.nurse_directory}")


def _speaker() -> Finding:
    player = next((name for name in ("aplay", "paplay", "afplay") if shutil.which(name)), "")
    if not player:
        return Finding("speaker", Verdict.NOTE, "no player for --play (apt-get install alsa-utils); the WAV is kept")
    return Finding("speaker", Verdict.GOOD, player)
