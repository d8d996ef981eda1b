"""The rendered speech that ships with the product: found, checked and held in memory before the first call.

A clip is played when everything else has failed, so nothing about it is left to the moment it is needed: at start every
file of the language and region is read, hashed and kept. Playing one touches no disk.
"""

import hashlib
import io
import tomllib
import wave
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np

from fsm import prompts
from triage.errors import AssetError, SettingError, StageError
from triage.ports import RATE, Pcm, SpokenWord

MANIFEST = "manifest.toml"
SCHEMA = 1
REMEDY = "render it again with: python -m triage.clips_render"

QUALITIES = ("local", "placeholder", "vendor")
"""Who spoke: the local voice, a program that only marks the place (refused in production), a vendor's voice."""

URGENT = ("emergency_first", "crisis_line", "poison_control")
"""Clips that say a number first or beside; which category plays which is data of the classifier."""
OPENING = ("greeting", "greeting_number", "disclosure_short", "goodbye")
TO_NURSE = ("nurse_whisper", "nurse_released")

MACHINE: frozenset[str] = frozenset(
    {
        prompts.ACKNOWLEDGEMENT,
        prompts.FILLER,
        *prompts.ARE_YOU_THERE,
        prompts.TAKE_YOUR_TIME,
        prompts.PRESS_ONE,
        prompts.CONNECTING,
        prompts.NEUTRAL,
        prompts.STILL_CONNECTING,
        prompts.RECONNECTING,
        prompts.EMERGENCY_NUMBER,
        prompts.APOLOGY,
        prompts.RESCUED,
        *prompts.FOR_REASON.values(),
        *URGENT,
        *OPENING,
        *TO_NURSE,
    }
)
"""Prompts without which no call is answered, in any language."""


@dataclass(frozen=True)
class Clip:
    """One rendered prompt."""

    id: str
    text: str
    wav: bytes
    """The file as it was hashed."""
    words: tuple[SpokenWord, ...] = ()
    """Positions in samples from the first; empty where the voice gave none."""
    quality: str = "local"
    says: tuple[tuple[str, str], ...] = ()
    """(emergency | crisis | poison, digits) for each number that it says."""

    @cached_property
    def pcm(self) -> Pcm:
        """int16 mono at RATE, not to be written to."""
        with wave.open(io.BytesIO(self.wav)) as source:
            return np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")


class ClipLibrary:
    """All clips of one language and region, in memory."""

    def __init__(self, clips: Mapping[str, Clip], *, language: str, region: str) -> None:
        self._clips = dict(clips)
        self.language, self.region = language, region

    @classmethod
    def load(
        cls,
        language: str = "en",
        region: str = "us",
        *,
        folder: Traversable | None = None,
        placeholders: bool = True,
        required: Iterable[str] = MACHINE,
    ) -> "ClipLibrary":
        """Read and check everything this deployment may say. `folder`: another place than the one that ships.

        Raises:
            AssetError: manifest or a file is missing, corrupt, of a wrong rate, or (with `placeholders` False) only a
                placeholder; one line that names file and remedy.
        """
        root = folder if folder is not None else resources.files("audio_assets")
        clips: dict[str, Clip] = {}
        for entry in read_manifest(root):
            if entry["language"] == language and entry["region"] in ("", region):
                clips[entry["id"]] = _load(root, entry, placeholders=placeholders)
        for prompt in sorted(set(required) - set(clips)):
            raise AssetError(
                f"no clip {prompt} for language {language}, region {region} in {root / MANIFEST}; {REMEDY}"
            )
        return cls(clips, language=language, region=region)

    def clip(self, prompt: str) -> Clip:
        """The clip of one prompt.

        Raises:
            StageError: there is none; the machine then takes its next way.
        """
        try:
            return self._clips[prompt]
        except KeyError:
            raise StageError("clips", f"no clip {prompt}") from None

    def __contains__(self, prompt: object) -> bool:
        return prompt in self._clips

    def __len__(self) -> int:
        return len(self._clips)

    @property
    def ids(self) -> frozenset[str]:
        """Every prompt that has a clip here."""
        return frozenset(self._clips)

    def variants(self, prompt: str) -> tuple[str, ...]:
        """`prompt` and its other wordings (prompt_2, prompt_3, ...), in order."""
        found, number = [prompt] if prompt in self._clips else [], 2
        while f"{prompt}_{number}" in self._clips:
            found.append(f"{prompt}_{number}")
            number += 1
        return tuple(found)

    def check_numbers(self, *, emergency: str, crisis: str, poison: str) -> None:
        """Refuse a deployment whose settings name other numbers than its clips say.

        Raises:
            SettingError: names the setting, the number said and the remedy.
        """
        wanted = {"emergency": digits(emergency), "crisis": digits(crisis), "poison": digits(poison)}
        for clip in self._clips.values():
            for kind, said in clip.says:
                if digits(said) != wanted[kind]:
                    raise SettingError(
                        f"setting {kind}_number: is not the number {said} that clip {clip.id} says ({self.language}, "
                        f"{self.region}); choose the region whose number it is, or render the clips with yours"
                    )


def digits(number: str) -> str:
    """A telephone number without its separators."""
    return "".join(c for c in number if c in "0123456789+*#")


def read_manifest(folder: Traversable) -> list[dict[str, Any]]:
    """The manifest's entries, each with every field a clip needs.

    Raises:
        AssetError: missing, no TOML, another schema, or a field that is missing or of another kind.
    """
    file = folder / MANIFEST
    try:
        read = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise AssetError(f"{file} cannot be read ({error.strerror}); {REMEDY}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AssetError(f"{file} is no TOML ({error}); {REMEDY}") from error
    if read.get("schema") != SCHEMA or not isinstance(read.get("clip"), list):
        raise AssetError(f"{file} has not schema {SCHEMA}; {REMEDY}")
    for number, entry in enumerate(read["clip"], 1):
        for name, kind in _FIELDS.items():
            if not isinstance(entry, dict) or not isinstance(entry.get(name), kind):
                raise AssetError(f"{file}: clip {number} has no usable field {name}; {REMEDY}")
    return list(read["clip"])


_FIELDS: dict[str, type] = {
    "id": str,
    "text": str,
    "language": str,
    "region": str,
    "voice": str,
    "quality": str,
    "file": str,
    "rate": int,
    "ms": int,
    "sha256": str,
}


def _load(root: Traversable, entry: dict[str, Any], *, placeholders: bool) -> Clip:
    file = root / entry["file"]
    if entry["quality"] not in QUALITIES:
        raise AssetError(f"{root / MANIFEST}: clip {entry['id']} has no known quality; {REMEDY}")
    if entry["quality"] == "placeholder" and not placeholders:
        raise AssetError(
            f"{file} is a placeholder, which production does not play; render {entry['id']} with a real voice"
        )
    try:
        content = file.read_bytes()
    except OSError as error:
        raise AssetError(f"{file} is missing ({error.strerror}); {REMEDY}") from error
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise AssetError(f"{file} is not the file in the manifest (its sha256 differs); {REMEDY}")
    try:
        with wave.open(io.BytesIO(content)) as source:
            shape = (source.getframerate(), source.getnchannels(), source.getsampwidth())
            length = source.getnframes()
    except (wave.Error, EOFError) as error:
        raise AssetError(f"{file} is no WAV file; {REMEDY}") from error
    if shape != (RATE, 1, 2) or entry["rate"] != RATE:
        raise AssetError(f"{file} is not {RATE} Hz mono 16 bit; {REMEDY}")
    if not length:
        raise AssetError(f"{file} holds no samples; {REMEDY}")
    try:
        words = tuple(SpokenWord(str(w), int(a), int(b)) for w, a, b in entry.get("words", ()))
    except (TypeError, ValueError) as error:
        raise AssetError(f"{root / MANIFEST}: clip {entry['id']} has broken word times; {REMEDY}") from error
    return Clip(
        id=entry["id"],
        text=entry["text"],
        wav=content,
        words=words,
        quality=entry["quality"],
        says=tuple(sorted((str(k), str(v)) for k, v in entry.get("says", {}).items())),
    )
