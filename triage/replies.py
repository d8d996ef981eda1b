"""Make replies and voice them: dialogue rules decide, a model (or the script) words, the gate reads, the voice speaks.

What a reply changes in the dialogue counts from the moment its first sample is audible; a reply that nobody heard never
happened, and the words it would have answered are answered by the next one. History holds what was audible, no more.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from audit.records import Stage
from classifiers.assessment import Known
from fsm import effects as fx
from fsm import events as ev
from triage.clips import ClipLibrary
from triage.dialogue.gate import refusal
from triage.dialogue.interview import OPENING, Interview, Plan, ToolCall, take_turn
from triage.dialogue.sentences import SentenceChunker
from triage.errors import StageError
from triage.listening import Listening
from triage.playout import Audible, Playout
from triage.ports import (
    FixedSentence,
    LanguageModel,
    LineSaid,
    ReplyRequest,
    Saying,
    TextDelta,
    TextToSpeech,
    ToolResult,
    Tools,
)
from triage.recorder import Recorder
from triage.runtime import PROMPTS_JOINED_BY
from triage.trace import Measured, Said, Trace

HEARD_ENOUGH = 0.5
"""Share of a question's words that must have been audible for it to count as asked."""
DISCLOSED = 0.9
"""Share of the disclosure's words that must have been audible."""
DISCLOSURES = frozenset({"greeting", "disclosure_short"})


@dataclass(slots=True)
class Draft:
    """A reply in the making."""

    turn: int
    before: Interview
    after: Interview
    plan: Plan
    sayings: dict[int, Saying]
    """By sentence index."""
    task: "asyncio.Task[None] | None" = None
    committed: bool = False
    freely: bool = False
    """A model worded it: which of its sentences is the question is not known."""
    began_ns: int = 0


@dataclass
class Replies:
    """One call's dialogue, from a turn's text to sound in the lane."""

    interview: Interview
    model: LanguageModel
    scripted: LanguageModel
    voice: TextToSpeech | None
    """None: only rendered wording can be spoken."""
    tools: Tools
    clips: ClipLibrary
    playout: Playout
    listening: Listening
    recorder: Recorder
    tell: Callable[[ev.Event], None]
    now_ns: Callable[[], int]
    observe: Callable[[Trace], None]
    spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
    known: Callable[[], Known]
    tool_done: Callable[[str, ToolResult], None]
    """Hears of every tool's result, also of one that ran on detached."""

    def __post_init__(self) -> None:
        self.history: list[LineSaid] = []
        self._drafts: dict[int, Draft] = {}
        self._voices: dict[int, set[asyncio.Task[None]]] = {}
        self._of_playback: dict[int, tuple[int, Saying]] = {}
        self._unanswered: dict[int, str] = {}
        self._cancelled = self._closed = 0
        self._question_heard = True
        self._disclosure_heard = False

    # --- replies

    def make(self, order: fx.MakeReply) -> None:
        """Start the reply of this generation; one that was cancelled while its order waited for the record never starts."""
        if order.generation <= self._cancelled:
            return
        heard = self.listening.text_of(order.turn)
        self._unanswered[order.turn] = heard
        self._drafts[order.generation] = draft = self._plan(order.turn)
        if draft.plan.withhold:
            self.recorder.withhold = True
        if draft.plan.hold:
            self._commit(order.generation)
            self.tell(ev.HoldRequested(at_ns=self.now_ns()))
            return
        model = self.scripted if order.scripted else self.model
        draft.task = self.spawn(self._reply(order.generation, draft, model))

    def _plan(self, turn: int) -> Draft:
        heard = " ".join(text for _, text in sorted(self._unanswered.items()) if text)
        after, plan = take_turn(
            self.interview,
            heard,
            turn=turn,
            question_heard=self._question_heard,
            disclosure_heard=self._disclosure_heard,
            known=self.known(),
            language=self.listening.language,
        )
        return Draft(turn, self.interview, after, plan, {}, began_ns=self.now_ns())

    async def _reply(self, generation: int, draft: Draft, model: LanguageModel) -> None:
        try:
            if draft.plan.tool is not None and not await self._run_tool(draft, draft.plan.tool):
                draft.plan = draft.plan.otherwise or draft.plan
            sentences = await self._word(generation, draft, model)
        except Exception as error:  # whatever model or rules raise is a reply that failed
            self.tell(self._failure("MakeReply", self._note(error, "llm"), generation))
            return
        if not sentences:
            self._commit(generation)
        plan = draft.plan
        self.tell(
            ev.ReplyEnded(
                at_ns=self.now_ns(),
                generation=generation,
                sentences=sentences,
                ends_call=plan.ends_call,
                nurse=plan.nurse,
            )
        )

    async def _word(self, generation: int, draft: Draft, model: LanguageModel) -> int:
        """Stream the sentences of one reply through the gate; returns how many there were."""
        request = ReplyRequest(
            generation=generation,
            turn=draft.turn,
            heard=" ".join(text for _, text in sorted(self._unanswered.items()) if text),
            sayings=draft.plan.sayings,
            history=tuple(self.history),
        )
        self.recorder.write(
            Stage.LLM_REQUEST,
            {"generation": generation, "model": model.name, "sayings": [s.prompt or s.text for s in request.sayings]},
            turn=draft.turn,
        )
        chunker, count, said = SentenceChunker(), 0, []
        stream = model.reply(request)
        try:
            async for part in stream:
                if isinstance(part, FixedSentence):
                    sayings = [part.saying]
                elif isinstance(part, TextDelta):
                    draft.freely = True
                    sayings = [Saying(text) for text in chunker.feed(part.text)]
                else:
                    continue
                for saying in self._gated(sayings, draft, generation):
                    count = self._ready(generation, draft, count, saying)
                    said.append(saying.text)
            for saying in self._gated([Saying(text) for text in chunker.close()], draft, generation):
                count = self._ready(generation, draft, count, saying)
                said.append(saying.text)
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()
            self.recorder.write(Stage.LLM_RESPONSE, {"generation": generation, "sentences": said}, turn=draft.turn)
        self.observe(
            Measured(at_ns=self.now_ns(), name="reply", ms=(self.now_ns() - draft.began_ns) / 1e6, turn=draft.turn)
        )
        return count

    def _gated(self, sayings: list[Saying], draft: Draft, generation: int) -> list[Saying]:
        """Fixed wording passes by its id; the rest is read, and the rules' own wording stands in for what is refused.

        Raises:
            StageError: the model strayed; the script takes the turn.
        """
        for saying in sayings:
            if saying.prompt is None and saying not in draft.plan.sayings and (why := refusal(saying.text)):
                self.recorder.write(
                    Stage.ERROR, {"where": "gate", "code": why, "generation": generation}, turn=draft.turn
                )
                raise StageError("llm", "gate")
        return sayings

    def _ready(self, generation: int, draft: Draft, index: int, saying: Saying) -> int:
        draft.sayings[index] = saying
        self.tell(
            ev.SentenceReady(
                at_ns=self.now_ns(), generation=generation, index=index, text=saying.text, prompt=saying.prompt
            )
        )
        return index + 1

    async def _run_tool(self, draft: Draft, call: ToolCall) -> bool:
        """Run the rules' tool to its end, whatever becomes of the reply that wanted it; returns whether it worked."""
        worked = False

        async def run() -> None:
            nonlocal worked
            try:
                result = await self.tools.call(call.name, call.arguments)
            except Exception as error:  # whatever a tool raises is a tool that did not work
                self._note(error, "tools")
                result = ToolResult(ok=False)
            self.recorder.write(
                Stage.TOOL,
                {"name": call.name, "ok": result.ok, "arguments": dict(call.arguments), "values": dict(result.values)},
                turn=draft.turn,
            )
            worked = result.ok
            self.tool_done(call.name, result)

        await asyncio.shield(self.spawn(run()))
        return worked

    def cancel(self, generation: int) -> None:
        """Cancel the request of this generation (and of any before it, made or still to be made)."""
        self._cancelled = max(self._cancelled, generation)
        draft = self._drafts.get(generation)
        if draft is not None and draft.task is not None:
            draft.task.cancel()

    def detach_tools(self) -> None:
        """A tool under way runs on by itself: it always does (see `_run_tool`)."""

    # --- voice

    def speak(self, order: fx.Speak) -> None:
        """Put one sentence into the lane; a sentence of a reply that was closed meanwhile is not spoken."""
        if order.generation <= self._closed:
            return
        draft = self._drafts.get(order.generation)
        saying = draft.sayings.get(order.index) if draft else None
        saying = saying or Saying(order.text, order.prompt)
        self._of_playback[order.playback] = (order.generation, saying)
        self.recorder.write(
            Stage.TTS_INPUT,
            {
                "generation": order.generation,
                "playback": order.playback,
                "text": order.text,
                "prompt": order.prompt or "",
            },
        )
        if order.prompt is not None:
            self._play_clip(order, order.prompt, order.text)
        elif self.voice is None:
            self._fall_back(order, saying)
        else:
            self.playout.open(order.playback, text=order.text, generation=order.generation)
            voices = self._voices.setdefault(order.generation, set())
            task = self.spawn(self._voice(order, saying, self.voice))
            voices.add(task)
            task.add_done_callback(voices.discard)

    def _play_clip(self, order: fx.Speak, prompt: str, text: str) -> None:
        clip = self.clips.clip(prompt)
        self.playout.append(
            order.playback, clip.pcm, text=text, words=clip.words, generation=order.generation, prompt=prompt
        )

    def _fall_back(self, order: fx.Speak, saying: Saying) -> None:
        if saying.fallback is None:
            raise StageError("tts", "no voice and no clip")
        self._play_clip(order, saying.fallback, self.clips.clip(saying.fallback).text)

    async def _voice(self, order: fx.Speak, saying: Saying, voice: TextToSpeech) -> None:
        began_ns, first = self.now_ns(), True
        stream = voice.speak(order.text)
        try:
            async for chunk in stream:
                if first:
                    first = False
                    self.observe(Measured(at_ns=self.now_ns(), name="tts", ms=(self.now_ns() - began_ns) / 1e6))
                self.playout.extend(order.playback, chunk.pcm, chunk.words)
            self.playout.finish(order.playback)
        except Exception as error:  # whatever a voice raises is a sentence that failed
            self._note(error, "tts")
            self._voice_failed(order, saying, nothing_yet=first)
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()

    def _voice_failed(self, order: fx.Speak, saying: Saying, *, nothing_yet: bool) -> None:
        if nothing_yet and saying.fallback is not None:
            clip = self.clips.clip(saying.fallback)
            self.playout.extend(order.playback, clip.pcm, clip.words)
            self.playout.finish(order.playback)
            return
        self.playout.finish(order.playback)
        self.tell(replace(self._failure("Speak", "tts", order.generation), playback=order.playback))

    def close(self, generation: int) -> None:
        """Close the voice of this generation (and of any before it)."""
        self._closed = max(self._closed, generation)
        for task in tuple(self._voices.pop(generation, ())):
            task.cancel()

    def _note(self, error: Exception, stage: str) -> str:
        """Write down what broke, in fixed wording; returns the stage. An engine may break in ways it did not promise."""
        stage, code = (error.stage, error.code) if isinstance(error, StageError) else (stage, type(error).__name__)
        self.recorder.note_error(stage, code)
        return stage

    def _failure(self, effect: str, stage: str, generation: int) -> ev.EffectFailed:
        return ev.EffectFailed(at_ns=self.now_ns(), effect=effect, stage=stage, generation=generation)

    # --- what was audible

    def started(self, playback: int) -> None:
        """A playback's first sample was accepted: from now on its reply has happened."""
        generation, saying = self._of_playback.get(playback, (0, None))
        draft = self._drafts.get(generation)
        if draft is None or saying is None:
            return
        self._commit(generation)
        if saying.question or draft.freely:
            self.listening.question, self.listening.phase = draft.plan.question, draft.plan.phase

    def _commit(self, generation: int) -> None:
        draft = self._drafts.get(generation)
        if draft is None or draft.committed:
            return
        draft.committed = True
        self._note_answers(self.interview, draft.after)
        self.interview = draft.after
        for turn in [turn for turn in self._unanswered if turn <= draft.turn]:
            self.history.append(LineSaid("caller", self._unanswered.pop(turn), turn))

    def _note_answers(self, before: Interview, after: Interview) -> None:
        """Write down what the interview has learned since."""
        for answer in after.answers:
            if answer not in before.answers:
                self.recorder.answer(answer.slot, answer.value, answer.text, answer.status, turn=answer.turn)

    def heard(self, audible: Audible) -> None:
        """A playback is over: write down and remember exactly what was audible of it."""
        generation, saying = self._of_playback.pop(audible.playback, (0, None))
        turn = self._drafts[generation].turn if generation in self._drafts else self.listening.turn
        if audible.text:
            self.history.append(LineSaid("agent", audible.text, turn, cut_off=audible.cut_off))
        if saying is not None and saying.question:
            self._question_heard = _share(len(audible.words), audible.ordered) >= HEARD_ENOUGH
        for part in self._parts(audible):
            if part.prompt == OPENING[-1]:
                self._question_heard = _share(len(part.text.split()), part.ordered) >= HEARD_ENOUGH
            if part.prompt in DISCLOSURES and _share(len(part.text.split()), part.ordered) >= DISCLOSED:
                self._disclosure_heard = True
            self.observe(part)
        self.recorder.write(
            Stage.PLAYOUT,
            {
                "playback": audible.playback,
                "generation": generation,
                "prompt": audible.prompt or "",
                "text": audible.text,
                "ordered": audible.ordered,
                "cut_off": audible.cut_off,
                "samples": audible.samples,
                "length": audible.length,
                "evidence": "samples accepted by the line less its queue and delay",
            },
            turn=turn,
        )

    def _parts(self, audible: Audible) -> list[Said]:
        """One `Said` for each clip of a playback that has several, else just one."""
        prompts = (audible.prompt or "").split(PROMPTS_JOINED_BY)
        at_ns, heard, parts = self.now_ns(), audible.text.split(), []
        for prompt in prompts:
            ordered = audible.ordered if len(prompts) == 1 else self.clips.clip(prompt).text
            length = len(heard) if len(prompts) == 1 else len(ordered.split())
            text, heard = " ".join(heard[:length]), heard[length:]
            cut_off = audible.cut_off and (len(prompts) == 1 or text.split() != ordered.split())
            parts.append(
                Said(
                    at_ns=at_ns,
                    playback=audible.playback,
                    text=text,
                    ordered=ordered,
                    prompt=prompt or None,
                    cut_off=cut_off,
                )
            )
        return parts

    def truncate(self, generation: int) -> None:
        """Write down that the reply was interrupted; the flush before it has already cut history to the audible words."""
        last = next((said for said in reversed(self.history) if said.speaker == "agent"), None)
        self.recorder.write(
            Stage.INTERRUPT,
            {"generation": generation, "audible": last.text if last is not None and last.cut_off else ""},
        )


def _share(heard: int, ordered: str) -> float:
    """Share of the ordered words that was audible; 1 where nothing was ordered."""
    words = len(ordered.split())
    return heard / words if words else 1.0
