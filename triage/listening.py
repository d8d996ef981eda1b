"""The ear of a call: caller audio in, judged events out.

Every frame goes through the voice detector; confirmed voice goes to the recogniser; **every final and every stretch is
judged for urgency before anything else happens with it**, in every state, over our own clips too. From the same stream come
the facts of turn-taking: a voice started, these were real words, it was a cough, the turn is over.

Time here is audio time (samples since connect): a caller's silence is counted in their own samples, so the same call
gives the same events in real and in virtual time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from classifiers.assessment import Assessment, CallJudge
from fsm import events as ev
from fsm.states import Dismissal
from triage.declining import declines_record
from triage.echo import EchoDetector, only_our_words
from triage.errors import StageError
from triage.ports import FRAME, RATE, Frame, Pcm, SpeechToText, Transcript, VoiceActivity, Word
from triage.stages.endpointing import Silences, silence_needed_ms
from triage.trace import Assessed, Heard, Measured, Trace
from triage.voice import Thresholds, VoiceChange, VoiceTracker, WordlessLimits, WordlessVoice

BACKCHANNELS = frozenset({"mm", "mhm", "mm-hm", "hmm", "mmhm", "uh-huh", "uhhuh", "uh", "um", "huh", "hm"})
OVERLAP_WORDS = 8
"""Words of the last stretch that are judged again with the next, so that no phrase falls between two."""
TURN_WORDS = 40
"""Words of the same turn that are judged again with its next final: a denial must not be cut from what it denies."""
JOINT_S = 2.0
"""Finals this close, in audio time, may share a phrase: a short pause, or a judgement in mid-voice, came between."""


@dataclass(frozen=True, slots=True)
class HearingLimits:
    """When words count and when waiting ends."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    confidence_real: float = 0.7
    confidence_answer: float = 0.5
    """A word this sure counts while the floor is the caller's anyway."""
    confidence_listed: float = 0.3
    always_interrupt: frozenset[str] = frozenset(
        {"stop", "wait", "help", "no", "nurse", "emergency", "please", "hello"}
    )
    finish_silence_ms: int = 350
    """Silence after which the recogniser is asked for its final; the turn may still go on."""
    promote_s: float = 1.5
    """A final that has not come by then is made from the interim."""
    stretch_still_s: float = 1.5
    stretch_s: float = 8.0
    stretch_words: int = 25
    turn_cut_s: float = 30.0
    wordless: WordlessLimits = field(default_factory=WordlessLimits)
    silences: Silences = field(default_factory=Silences)
    echo_window_s: float = 2.0
    """Words of ours this old may still be an echo."""


class WhatWePlay(Protocol):
    """What the ear must know of our own voice."""

    @property
    def playing(self) -> bool:
        """Whether anything of ours is in the lane."""
        ...

    def recent_words(self, window_s: float) -> Sequence[str]:
        """Words of ours that were audible within the last `window_s` seconds."""
        ...


class Ledger(Protocol):
    """Where finals and assessments are written down. Never blocks, never raises."""

    withhold: bool
    """The caller declined the record: their words stay out of it."""

    def heard(self, transcript: Transcript, *, turn: int, promoted: bool) -> None:
        """Write one final."""
        ...

    def assessed(self, kind: str, text: str, assessment: Assessment, *, turn: int, suppressed: str) -> None:
        """Write one verdict."""
        ...


class Beside(Protocol):
    """A slower judge, asked after each final."""

    def ask(self, text: str, question: str, first: Assessment, answer: Callable[[Assessment], None]) -> None:
        """Ask; `answer` is called later if at all. Returns at once, never raises."""
        ...


@dataclass(slots=True)
class Counts:
    """What was heard and judged; finals + stretches + tails must equal assessments when the call ends."""

    finals: int = 0
    stretches: int = 0
    tails: int = 0
    assessments: int = 0


class Listening:
    """One caller's ear. Synchronous but for `read_transcripts`; all events leave through `tell`."""

    def __init__(
        self,
        *,
        vad: VoiceActivity,
        stt: SpeechToText,
        judge: CallJudge,
        ours: WhatWePlay,
        ledger: Ledger,
        tell: Callable[[ev.Event], None],
        now_ns: Callable[[], int],
        observe: Callable[[Trace], None],
        limits: HearingLimits | None = None,
        beside: Beside | None = None,
    ) -> None:
        self._beside = beside
        self._vad, self._stt, self._judge, self._ours, self._ledger = vad, stt, judge, ours, ledger
        self._tell, self._now_ns, self._observe = tell, now_ns, observe
        self._limits = limits or HearingLimits()
        self._voice = VoiceTracker(self._limits.thresholds)
        self._wordless = WordlessVoice(self._limits.wordless)
        self._echo = EchoDetector()
        self.question = ""
        """What we last asked, as far as it was audible; input of classifier and endpointing."""
        self.phase = ""
        """Kind of answer expected (open, yes_no, number, spelling)."""
        self.language = "en"
        """Of the last words judged: en, es, mixed or unknown."""
        self.turn = 1
        """Number of the caller's turn that is being heard."""
        self.counts = Counts()
        self.position = 0
        """Audio time: samples heard since connect."""
        self.origin_ns = 0
        """Monotonic time of sample 0, recorded once: the one mapping between audio time and the clock."""
        self.deaf = False
        """Bridged: a nurse has the caller, we do not transcribe."""
        self.gravest: tuple[Assessment, str, int] | None = None
        """The urgent verdict of the highest rank so far, its text and turn; set before it is told."""
        self.last_words: tuple[str, int] = ("", 1)
        """The last final that had words, and its turn."""
        self._texts: dict[int, list[str]] = {}
        self._word_end_ns: dict[int, int] = {}
        self._turn_onset: int | None = None
        self._over_us = False
        self._partial: Transcript | None = None
        self._changed_at = 0
        self._stretch_from = 0
        self._stretched = 0
        self._open = False
        self._finishing_at: int | None = None
        self._finish_ns = 0
        self._done = -1
        self._words_told = False
        self._judging = False
        self._draining = False
        self._drained = False
        self._promoted_in_a_row = 0
        self._before: tuple[int, list[str], int] = (0, [], 0)
        """Turn, words and end of the last final."""

    # --- audio

    def hear(self, frame: Frame, played: Pcm | None = None) -> None:
        """Take the next 20 ms of the caller, and what we played meanwhile."""
        if not self.origin_ns:
            self.origin_ns = self._now_ns() - (frame.start + FRAME) * 1_000_000_000 // RATE
        self.position = frame.start + FRAME
        if self.deaf:
            return
        self._echo.feed(played, frame.pcm)
        for window in self._vad.feed(frame):
            if not self._voice.active and window.probability >= self._limits.thresholds.pause and self._echo.hears_us():
                continue
            for change in self._voice.window(window, self._vad.window):
                self._voice_changed(change)
        voiced = self._voice.active and self._voice.confirmed
        if voiced and not self._open:
            self._open, self._stretch_from = True, self.position
        self._stt.feed(frame, voiced=voiced)
        self._wait_no_longer()

    def _voice_changed(self, change: VoiceChange) -> None:
        match change:
            case VoiceChange.STARTED:
                self._over_us = self._ours.playing
                self._tell(ev.SpeechStarted(at_ns=self._now_ns()))
            case VoiceChange.CONFIRMED:
                if self._turn_onset is None:
                    self._turn_onset = self._voice.onset
            case VoiceChange.STOPPED:
                if not self._voice.confirmed:
                    self._dismiss(Dismissal.NOTHING)

    def _wait_no_longer(self) -> None:
        """Everything that ends because audio time has passed."""
        silence = self.position - self._voice.last_voice
        if self._open and self._voice.active and not self._words_told:
            self._wordless_so_far()
        if self._partial is not None:
            self._judge_stretch(self._partial)
        if self._open and self._finishing_at is None and not self._voice.active:
            text = self._partial.text if self._partial else ""
            if silence >= _samples_ms(min(self._limits.finish_silence_ms, self._needed_ms(text))):
                self._finish()
        if self._finishing_at is not None and self.position - self._finishing_at >= _samples(self._limits.promote_s):
            self._promote()
        if self._turn_onset is not None and self.position - self._turn_onset >= _samples(self._limits.turn_cut_s):
            if self._open and self._finishing_at is None:
                self._finish()
            elif self._texts.get(self.turn):
                self._end_turn(0)
        elif self._texts.get(self.turn) and not self._open and self._finishing_at is None and not self._voice.active:
            needed = self._needed_ms(" ".join(self._texts[self.turn]))
            if silence >= _samples_ms(needed):
                self._end_turn(silence)

    def _needed_ms(self, text: str) -> int:
        return silence_needed_ms(text, question=self.question, phase=self.phase, silences=self._limits.silences)

    def _finish(self) -> None:
        self._finishing_at, self._finish_ns, self._open = self.position, self._now_ns(), False
        self._stt.finish_utterance()

    def _end_turn(self, silence: int) -> None:
        turn, self.turn, self._turn_onset = self.turn, self.turn + 1, None
        self._word_end_ns[turn] = self.at_ns(self._voice.last_voice)
        self._observe(Measured(at_ns=self._now_ns(), name="end_of_turn", ms=silence * 1000 / RATE, turn=turn))
        self._tell(ev.TurnEnded(at_ns=self._now_ns(), turn=turn, silent_ns=silence * 1_000_000_000 // RATE))

    def _wordless_so_far(self) -> None:
        if self._partial is None and self._wordless.burst(self._voice.onset, self._voice.last_voice):
            self._tell(ev.WordlessVoiceHeard(at_ns=self._now_ns()))
            self._wordless.forget()

    # --- words

    async def read_transcripts(self) -> None:
        """Take transcripts until the recogniser is closed; a recogniser that dies becomes an event."""
        try:
            async for transcript in self._stt.transcripts():
                self.take(transcript)
        except StageError:
            self._broken()

    def take(self, transcript: Transcript) -> None:
        """Judge one transcript; one that comes after its final (or its promotion) is late and dropped."""
        if transcript.utterance <= self._done:
            return
        if transcript.final:
            self._promoted_in_a_row = 0
            self._final(transcript, promoted=False)
        else:
            self._interim(transcript)

    def _broken(self) -> None:
        self._tell(ev.EffectFailed(at_ns=self._now_ns(), effect="Transcribe", stage="stt"))
        if self._draining:
            self._tail_done()

    def _interim(self, transcript: Transcript) -> None:
        if self._partial is None or self._partial.text != transcript.text:
            self._changed_at = self.position
        if self._partial is None:
            self._stretch_from = self.position
        self._partial = transcript
        self._observe(Heard(at_ns=self._now_ns(), transcript=transcript, turn=self.turn))
        sure = self._sure(transcript.words, self._limits.confidence_real)
        unhurried = not self._over_us and self._voice.voiced >= _samples(0.6) and len(transcript.words) > 1
        if (sure or unhurried) and not self._is_echo(transcript):
            self._real_words()

    def _real_words(self) -> None:
        self._wordless.forget()
        if not self._words_told:
            self._words_told, self._judging = True, False
            self._tell(ev.WordsHeard(at_ns=self._now_ns()))

    def _final(self, transcript: Transcript, *, promoted: bool) -> None:
        now_ns = self._now_ns()
        self._done, self._finishing_at, self._partial, self._stretched = transcript.utterance, None, None, 0
        if self._draining:
            self.counts.tails += 1
        else:
            self.counts.finals += 1
        self._mind_refusal(transcript)
        self._ledger.heard(transcript, turn=self.turn, promoted=promoted)
        if transcript.text.strip() and not self._is_echo(transcript):
            self.last_words = (transcript.text, self.turn)
        self._judge_final(transcript)
        self._observe(Heard(at_ns=now_ns, transcript=transcript, turn=self.turn))
        if self._finish_ns:
            self._observe(Measured(at_ns=now_ns, name="stt_final", ms=(now_ns - self._finish_ns) / 1e6, turn=self.turn))
            self._finish_ns = 0
        echo = self._is_echo(transcript)
        if self._is_real(transcript) and not echo:
            self._texts.setdefault(self.turn, []).append(transcript.text)
            self._real_words()
            if transcript.ends_turn:
                self._end_turn(self.position - self._voice.last_voice)
        else:
            self._not_real(transcript, echo=echo)
        self._words_told = self._words_told and self._voice.active
        if self._draining:
            self._tail_done()

    def _not_real(self, transcript: Transcript, *, echo: bool) -> None:
        if not echo and self._wordless.burst(self._voice.onset, self._voice.last_voice):
            self._tell(ev.WordlessVoiceHeard(at_ns=self._now_ns()))
            self._wordless.forget()
        if self._voice.active:
            if self._judging:
                self._judging = False
                self._tell(ev.SpeechUnclear(at_ns=self._now_ns()))
            return
        if not self._texts.get(self.turn):
            self._turn_onset = None
        spoken = {word.text.lower() for word in transcript.words}
        if echo:
            self._dismiss(Dismissal.ECHO)
        else:
            self._dismiss(Dismissal.BACKCHANNEL if spoken and spoken <= BACKCHANNELS else Dismissal.COUGH)

    def _dismiss(self, why: Dismissal) -> None:
        self._judging = False
        self._tell(ev.SpeechDismissed(at_ns=self._now_ns(), why=why))

    def judge_speech(self) -> None:
        """Answer now, as well as can be: were those words? (WordsHeard, SpeechDismissed or SpeechUnclear follows)."""
        if self._words_told:
            self._tell(ev.WordsHeard(at_ns=self._now_ns()))
        elif self._finishing_at is not None or self._open:
            self._judging = True
            if self._finishing_at is None:
                self._finish()
        elif self._voice.active:
            self._tell(ev.SpeechUnclear(at_ns=self._now_ns()))
        else:
            self._dismiss(Dismissal.NOTHING)

    def _promote(self) -> None:
        """The final never came: the interim is all there is, and it is judged."""
        partial = self._partial
        self._promoted_in_a_row += 1
        made = Transcript(
            utterance=partial.utterance if partial else self._done + 1,
            final=True,
            text=partial.text if partial else "",
            words=partial.words if partial else (),
            start=partial.start if partial else self.position,
            end=self.position,
        )
        self._final(made, promoted=True)
        if self._promoted_in_a_row >= 2:
            self._broken()

    # --- what words are worth

    def _sure(self, words: Sequence[Word], enough: float) -> bool:
        known = [(word.text.lower(), word.confidence) for word in words if word.confidence is not None]
        if self._over_us and all(text in BACKCHANNELS for text, _ in known):
            return False
        listed = self._limits.confidence_listed
        return any(
            confidence >= enough or (confidence >= listed and text in self._limits.always_interrupt)
            for text, confidence in known
        )

    def _is_real(self, transcript: Transcript) -> bool:
        if self._words_told and transcript.words:
            return True
        if transcript.words and all(word.confidence is None for word in transcript.words):
            return not self._over_us
        enough = self._limits.confidence_real if self._over_us else self._limits.confidence_answer
        return self._sure(transcript.words, enough)

    def _is_echo(self, transcript: Transcript) -> bool:
        return bool(transcript.words) and only_our_words([transcript.text], self._played_since(transcript))

    def _played_since(self, transcript: Transcript) -> Sequence[str]:
        return self._ours.recent_words((self.position - transcript.start) / RATE + self._limits.echo_window_s)

    def _mind_refusal(self, transcript: Transcript) -> None:
        """Who does not want to be written down is obeyed from these words on, whatever they are in the middle of."""
        text = " ".join([*self._just_before(transcript), transcript.text])
        if not self._ledger.withhold and declines_record(text) and not self._is_echo(transcript):
            self._ledger.withhold = True

    # --- urgency

    def _judge_stretch(self, partial: Transcript) -> None:
        new = len(partial.words) - self._stretched
        if new <= 0:
            return
        limits = self._limits
        due = (
            self.position - self._changed_at >= _samples(limits.stretch_still_s)
            or self.position - self._stretch_from >= _samples(limits.stretch_s)
            or new >= limits.stretch_words
        )
        if due:
            words = partial.words[max(0, self._stretched - OVERLAP_WORDS) :]
            self._stretched, self._stretch_from = len(partial.words), self.position
            self.counts.stretches += 1
            self._mind_refusal(partial)
            self._assess("stretch", " ".join(word.text for word in words), partial)

    def _judge_final(self, transcript: Transcript) -> None:
        """Judge a final, and again with the words just before it where both may share a phrase."""
        text, near = transcript.text, self._just_before(transcript)
        raised = self._assess("tail" if self._draining else "final", text, transcript)
        if not transcript.words:
            return
        if raised is None and near:
            text = " ".join([*near, text])
            self.counts.stretches += 1
            raised = self._assess("stretch", text, transcript)
        told = max((evidence.end for evidence in raised.evidence), default=0) if raised else 0
        self._before = (self.turn, text[told:].split()[-TURN_WORDS:], transcript.end)

    def _just_before(self, transcript: Transcript) -> list[str]:
        """The words just before these, where both may share a phrase."""
        turn, words, ended = self._before
        return words if turn == self.turn and transcript.start - ended <= _samples(JOINT_S) else []

    def _assess(self, kind: str, text: str, transcript: Transcript) -> Assessment | None:
        """Judge, tell and write down; returns the verdict that was raised."""
        began_ns = self._now_ns()
        assessment = self._judge.assess(text, question=self.question, turn=self.turn)
        self.counts.assessments += 1
        self.language = assessment.language
        suppressed = ""
        if assessment.urgent:
            if only_our_words([e.text for e in assessment.evidence], self._played_since(transcript)):
                suppressed = "echo"
            else:
                self._word_end_ns[self.turn] = self.at_ns(self._voice.last_voice)
                self._raise(assessment, text, self.turn, began_ns)
        self._noted(kind, text, assessment, self.turn, began_ns, suppressed)
        if self._beside is not None and kind != "stretch" and text.strip() and not self._is_echo(transcript):
            turn = self.turn
            self._beside.ask(text, self.question, assessment, lambda raised: self._second_raised(raised, text, turn))
        return assessment if assessment.urgent and not suppressed else None

    def _second_raised(self, assessment: Assessment, text: str, turn: int) -> None:
        """The judge beside raised a final; stale once a nurse has the caller or the last words are judged."""
        if self.deaf or self._drained:
            return
        now_ns = self._now_ns()
        self._raise(assessment, text, turn, now_ns)
        self._noted("second_opinion", text, assessment, turn, now_ns, "")

    def _raise(self, assessment: Assessment, text: str, turn: int, at_ns: int) -> None:
        if self.gravest is None or assessment.rank > self.gravest[0].rank:
            self.gravest = (assessment, text, turn)
        self._tell(
            ev.UrgencyRaised(
                at_ns=at_ns,
                level=assessment.level.value,
                category=assessment.category.value,
                rank=assessment.rank,
                clip=assessment.clip,
                says_number=assessment.level.value == "emergency_now",
            )
        )

    def _noted(self, kind: str, text: str, verdict: Assessment, turn: int, at_ns: int, suppressed: str) -> None:
        self._ledger.assessed(kind, text, verdict, turn=turn, suppressed=suppressed)
        us = (self._now_ns() - at_ns) // 1000
        self._observe(
            Assessed(
                at_ns=at_ns, kind=kind, text=text, assessment=verdict, turn=turn, took_us=us, suppressed=suppressed
            )
        )

    # --- ends

    def drain(self) -> None:
        """The caller has gone: judge what they last said, then tell TailDrained."""
        self._draining = True
        if self._open and self._finishing_at is None:
            self._finish()
        if self._finishing_at is None:
            self._tail_done()

    def give_up_draining(self) -> None:
        """Nothing more will come: judge what interim there is, so that no word stays unjudged."""
        if self._draining and not self._drained and self._partial is not None:
            self._final(replace(self._partial, final=True), promoted=True)

    def _tail_done(self) -> None:
        if not self._drained:
            self._drained = True
            self._tell(ev.TailDrained(at_ns=self._now_ns()))

    def listen_again(self) -> None:
        """A bridged nurse was lost: hear the caller from here on."""
        self.deaf = False
        self._vad.reset()
        self._voice = VoiceTracker(self._limits.thresholds)
        self._voice.last_voice = self.position

    # --- look-ups

    def text_of(self, turn: int) -> str:
        """Everything real that was heard in this turn."""
        return " ".join(self._texts.get(turn, ()))

    def word_end_ns(self, turn: int) -> int:
        """Monotonic time at which the caller's last word of this turn ended."""
        return self._word_end_ns.get(turn, 0)

    def onset_ns(self) -> int:
        """Monotonic time at which the latest voice began."""
        return self.at_ns(self._voice.onset)

    def at_ns(self, position: int) -> int:
        """Monotonic time of an audio position."""
        return self.origin_ns + position * 1_000_000_000 // RATE


def _samples(seconds: float) -> int:
    return int(seconds * RATE)


def _samples_ms(milliseconds: int) -> int:
    return milliseconds * RATE // 1000
