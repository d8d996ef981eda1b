"""The classifier: `load()` once per process, `begin()` once per call, `assess()` on every final.

1. The rules judge the text in the light of the call (`rule_call.py`); a rule set that breaks gives `classifier_failed`.
2. Every further layer judges it too; a layer that breaks is counted, and nothing else changes.
3. The highest level wins, then the category's rank, then what was said first.

`assess` never raises. Time is only measured, by an injected clock, so that an overrun can be paged on.
"""

import gc
import time
from collections.abc import Callable, Sequence

from classifiers.assessment import Assessment, Evidence, Known
from classifiers.language import language_of
from classifiers.layers import Layer, Opinion
from classifiers.levels import Category, Level
from classifiers.rule_call import Candidate, RuleCall
from classifiers.rulebook import Rulebook, load_rulebook
from classifiers.tokens import Token

THRESHOLD = 0.5
"""Fixed: urgent at or above."""
DEADLINE_US = 5_000
"""A final judged more slowly is counted in `Classifier.overruns`."""
SCORES = {Level.EMERGENCY_NOW: 0.99, Level.NURSE_NOW: 0.9, Level.NURSE_SOON: 0.3, Level.ROUTINE: 0.02}
_ORDER = {Level.ROUTINE: 0, Level.NURSE_SOON: 1, Level.NURSE_NOW: 2, Level.EMERGENCY_NOW: 3}


class Judge:
    """One call's accumulator; fulfils `CallJudge`."""

    def __init__(self, classifier: "Classifier") -> None:
        self._classifier = classifier
        self._rules = RuleCall(classifier.rules)
        self._urgent: list[Assessment] = []
        self.latency_us = 0
        """What the last `assess` took; 0 when no clock was given."""

    def assess(self, text: str, *, question: str = "", turn: int = 0) -> Assessment:
        """Judge one final or stretch after `question`. Never raises."""
        began = self._classifier.now()
        try:
            assessment = self._assess(text, question, turn)
        except Exception:  # a classifier that breaks hands the call over
            self._classifier.failures += 1
            assessment = self._classifier.failed()
        if assessment.urgent:
            self._urgent.append(assessment)
        self.latency_us = int((self._classifier.now() - began) * 1e6)
        if self.latency_us > DEADLINE_US:
            self._classifier.overruns += 1
        return assessment

    def _assess(self, text: str, question: str, turn: int) -> Assessment:
        found: list[Assessment] = []
        language = "unknown"
        broken = False
        try:
            candidates, tokens = self._rules.judge(text, question, turn)
            language = language_of(tokens)
            for candidate in candidates:  # one by one: what was found before the nonsense is not lost
                found.append(self._verdict(candidate, text, tokens))
        except Exception:  # broken, or an answer that makes no sense: the further layers are heard all the same
            self._classifier.failures += 1
            broken = True
        if self._classifier.layers:
            known = self.known
            for layer in self._classifier.layers:
                found += self._opinion(layer, text, question, known)
        best = max(found, key=lambda a: (_ORDER[a.level], a.rank), default=None)
        if best is not None and best.urgent:
            return best if language == best.language else _in_language(best, language)
        if broken:
            return self._classifier.failed()
        return Assessment(
            level=best.level if best else Level.ROUTINE,
            category=Category.NONE,
            score=best.score if best else SCORES[Level.ROUTINE],
            rule=best.rule if best and best.level is Level.NURSE_SOON else "",
            versions=self._classifier.versions,
            language=language,
        )

    def _verdict(self, candidate: Candidate, text: str, tokens: Sequence[Token]) -> Assessment:
        evidence: tuple[Evidence, ...] = ()
        if candidate.span is not None:
            start, end = tokens[candidate.span[0]].start, tokens[candidate.span[1] - 1].end
            evidence = (Evidence(start=start, end=end, text=text[start:end]),)
        return self._classifier.verdict(
            candidate.level, candidate.category, SCORES[candidate.level], candidate.rule, evidence
        )

    def _opinion(self, layer: Layer, text: str, question: str, known: Known) -> list[Assessment]:
        """What a further layer adds; nothing when it breaks."""
        try:
            opinion = layer.judge(text, question=question, known=known)
            if opinion is None:
                return []
            if not isinstance(opinion, Opinion):
                raise TypeError("not an Opinion")
            return [
                self._classifier.verdict(
                    opinion.level, opinion.category, opinion.score, opinion.rule, tuple(opinion.evidence)
                )
            ]
        except Exception:  # a layer that breaks is counted, and nothing else changes
            faults = self._classifier.layer_faults
            faults[layer.id] = faults.get(layer.id, 0) + 1
            return []

    @property
    def known(self) -> Known:
        """Findings, qualifiers and urgent verdicts so far."""
        return Known(
            findings=tuple(self._rules.findings.values()),
            qualifiers=tuple((name, value, turn) for name, (value, turn) in self._rules.qualifiers.items()),
            urgent=tuple(self._urgent),
        )


def _in_language(assessment: Assessment, language: str) -> Assessment:
    fields = {name: getattr(assessment, name) for name in Assessment.__slots__}
    return Assessment(**{**fields, "language": language})


class Classifier:
    """All rules, compiled, and the further layers. Shared by all calls; only its counters ever change."""

    def __init__(
        self,
        rules: Rulebook,
        layers: Sequence[Layer] = (),
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.rules = rules
        self.layers = tuple(layers)
        self.versions = (*rules.versions, *((layer.id, layer.version) for layer in self.layers))
        """(part, version) of everything that decides."""
        self.now: Callable[[], float] = clock or time.perf_counter
        """Seconds, for measuring only."""
        self.failures = 0
        """Finals on which the rules broke and the call was handed over."""
        self.layer_faults: dict[str, int] = {}
        """Finals on which a further layer broke, by its id. Page when it grows."""
        self.overruns = 0
        """Finals that took longer than DEADLINE_US. Page when it grows."""

    def begin(self) -> Judge:
        """A fresh accumulator for one call."""
        return Judge(self)

    def verdict(
        self, level: Level, category: Category, score: float, rule: str, evidence: tuple[Evidence, ...] = ()
    ) -> Assessment:
        """An assessment with the clip and rank that the data give this level and category."""
        row = self.rules.categories[category]
        return Assessment(
            level=level,
            category=category if level.urgent else Category.NONE,
            score=score,
            evidence=evidence,
            rule=rule,
            versions=self.versions,
            clip=row.emergency_clip if level is Level.EMERGENCY_NOW else row.clip if level.urgent else "",
            rank=self.rules.level_rank[level] + row.rank if level.urgent else 0,
        )

    def failed(self) -> Assessment:
        """The verdict when the rules themselves are broken: a nurse, behind every real finding."""
        row = self.rules.categories[Category.CLASSIFIER_FAILED]
        return Assessment(
            level=Level.NURSE_NOW,
            category=Category.CLASSIFIER_FAILED,
            score=THRESHOLD,
            rule="classifier_failed",
            versions=self.versions,
            clip=row.clip,
            rank=row.rank,
            language="unknown",
        )


def load(layers: Sequence[Layer] = (), clock: Callable[[], float] | None = None) -> Classifier:
    """Compile the shipped rules; `clock` (seconds) measures each verdict.

    What is alive afterwards is taken out of garbage collection (`gc.freeze`): going through the compiled phrases once
    holds the process for some 50 ms, and they are needed to its end.

    Raises:
        RuleFileError: a rule file is missing or broken.
    """
    collecting = gc.isenabled()
    gc.disable()  # nothing of what is built here is garbage, and looking for some doubles the time
    try:
        rules = load_rulebook()
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
    return Classifier(rules, layers, clock)
