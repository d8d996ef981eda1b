"""What every call of a process shares, loaded and checked before anybody rings: clips, book, classifier, record, voice.

The demo and the worker's job processes load it through here, so that a call on the telephone and one in the terminal
stand on the same things.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from audit.errors import AuditError
from audit.folder import AuditFolder
from audit.keyring import Role
from classifiers import Classifier
from classifiers import load as load_classifier
from classifiers.model import ModelFileError
from classifiers.rulebook import RuleFileError
from classifiers.second_opinion import SecondOpinion
from triage.call import Engines
from triage.clips import ClipLibrary
from triage.config import Settings
from triage.dialogue.interview import Book
from triage.dialogue.scripted import ScriptedInterviewer
from triage.errors import AssetError, StorageError
from triage.handoff.desk import post_of
from triage.ports import LanguageModel, TextToSpeech
from triage.recorder import StoreAlarm
from triage.stages.flite_tts import FliteTextToSpeech


@dataclass(frozen=True, slots=True)
class Loaded:
    """Engines, and the folder their record goes to."""

    engines: Engines
    folder: AuditFolder
    warning: str
    """What the operator must be told (a key was made); empty when nothing."""


def load(
    settings: Settings,
    *,
    writer: str,
    inline: bool = False,
    deferred: bool = False,
    voice_busy: Callable[[], AbstractContextManager[Any]] = nullcontext,
    second_opinion: SecondOpinion | None = None,
) -> Loaded:
    """Load and check everything. `writer`: id of this process in the record, unique among those that live at one time.

    `inline`: records are committed in the caller's thread, for virtual time. `deferred`: a store that cannot be opened
    now is tried again later, and calls are journalled meanwhile. `voice_busy` is held while the local voice is at work.
    `second_opinion`: a judge asked beside each final; it is a vendor's, and there is none by default.

    Raises:
        AssetError: a clip, the book or the classifier is missing or damaged.
        SettingError: a clip says another number than the settings, or packets cannot go where the settings say.
        StorageError: the data folder, its keys or its store cannot be used.
    """
    clips = ClipLibrary.load(settings.language, settings.region)
    clips.check_numbers(
        emergency=settings.emergency_number, crisis=settings.crisis_number, poison=settings.poison_number
    )
    book = Book.load(settings.region)
    classifier = _classifier()
    folder, alarm = AuditFolder(settings.data_dir), StoreAlarm()
    warning = keys(settings)
    try:
        audit = folder.open_writer(writer, on_trouble=alarm, inline=inline, deferred=deferred)
    except AuditError as error:
        raise StorageError(str(error)) from error
    except OSError as error:
        raise _unusable(settings, error) from error
    model: LanguageModel = ScriptedInterviewer()
    voice: TextToSpeech | None = FliteTextToSpeech(busy=voice_busy) if settings.tts == "flite" else None
    engines = Engines(
        settings=settings,
        clips=clips,
        classifier=classifier,
        model=model,
        scripted=model,
        voice=voice,
        writer=audit,
        book=book,
        alarm=alarm,
        post=None if inline else post_of(settings, folder.keyring(Role.WRITER).public_key()),
        second_opinion=second_opinion,
    )
    return Loaded(engines, folder, warning)


def keys(settings: Settings) -> str:
    """Make sure that the record can be written: the folder is there, and so are its keys.

    A pair is made on the first run; staging and production must bring theirs. Returns what the operator must be told of
    it, else nothing.

    Raises:
        StorageError: the folder cannot be written, or the keys are missing or damaged.
    """
    folder = AuditFolder(settings.data_dir)
    keyring = folder.keyring()
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        if settings.profile in ("staging", "production"):
            keyring.public_key()
        else:
            keyring.ensure()
        folder.tighten()
    except AuditError as error:
        raise StorageError(str(error)) from error
    except OSError as error:
        raise _unusable(settings, error) from error
    return keyring.warning


def _classifier() -> Classifier:
    try:
        return load_classifier()
    except (RuleFileError, ModelFileError) as error:
        raise AssetError(f"the classifier cannot be used: {error}; mend that file") from error


def _unusable(settings: Settings, error: OSError) -> StorageError:
    remedy = "choose another folder with --data"
    return StorageError(f"the data folder {settings.data_dir} cannot be used ({error.strerror}); {remedy}")
