"""Why a text is judged as it is, for a person: what every layer said, what was heard and how it was meant."""

from collections.abc import Iterator

from classifiers.assessment import Assessment
from classifiers.features import described
from classifiers.judge import THRESHOLD, Classifier
from classifiers.levels import Level
from classifiers.model_layer import ModelLayer
from classifiers.rule_call import RuleCall

_WIDTH = 11
_MEANT = {
    Level.EMERGENCY_NOW: "  (the emergency number first, then a nurse)",
    Level.NURSE_NOW: "  (a nurse now)",
    Level.NURSE_SOON: "  (not urgent: a nurse, but not now)",
}


def explain(classifier: Classifier, text: str, question: str = "") -> str:
    """Several lines of plain text; the first row tells the level."""
    judge = classifier.begin()
    verdict = judge.assess(text, question=question, turn=1)
    rows = [
        ("level", f"{verdict.level.value}{_MEANT.get(verdict.level, '')}"),
        ("category", verdict.category.value),
        ("score", f"{verdict.score:.2f}  (urgent from {THRESHOLD})"),
        ("rule", verdict.rule or "none fired"),
        ("language", verdict.language),
    ]
    flag = classifier.rules.flags.get(verdict.rule.partition(":")[2])
    if flag is not None:
        rows.append(("source", flag.source))
        rows.append(("approved", f"{flag.approved_by}, {flag.approved_on}" if flag.approved_by else "by nobody yet"))
    rows += _evidence(text, verdict)
    rows += [("heard", f"{f.code}: {f.assertion}, {f.text!r}") for f in judge.known.findings]
    rows += [("known", f"{name}: {value}") for name, value, _ in judge.known.qualifiers]
    rows += _rules_said(classifier, text, question)
    for layer in classifier.layers:
        if isinstance(layer, ModelLayer):
            rows += _model_said(layer, text, question)
    rows += [("version", f"{part} {version}") for part, version in verdict.versions]
    return "\n".join(f"{name:<{_WIDTH}}{words}" for name, words in rows)


def shown(text: str) -> str:
    """The text on one line, without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _evidence(text: str, verdict: Assessment) -> Iterator[tuple[str, str]]:
    for e in verdict.evidence:
        yield "evidence", f"characters {e.start} to {e.end}: {shown(e.text)}"
        before, after = shown(text[max(0, e.start - 30) : e.start]), shown(text[e.end : e.end + 30])
        yield "", f"{before}[{shown(e.text)}]{after}"


def _rules_said(classifier: Classifier, text: str, question: str) -> Iterator[tuple[str, str]]:
    """Every reason the rules found, not only the one that counted."""
    try:
        candidates, tokens = RuleCall(classifier.rules).judge(text, question, 1)
    except Exception as error:  # that they broke is the explanation
        yield "rules", f"broke: {type(error).__name__}"
        return
    for c in dict.fromkeys(candidates):
        words = "" if c.span is None else shown(text[tokens[c.span[0]].start : tokens[c.span[1] - 1].end])
        yield "rules", f"{c.level.value} {c.category.value} by {c.rule}{f': {words}' if words else ''}"
    if not candidates:
        yield "rules", "nothing to raise"


def _model_said(layer: ModelLayer, text: str, question: str) -> Iterator[tuple[str, str]]:
    verdict = layer.explained(text, question)
    said = f"urgent, {verdict.category.value}" if verdict.urgent else "not urgent"
    yield layer.id, f"{said}, score {verdict.score:.2f}"
    for name, weight in verdict.top:
        yield "", f"{weight:+.2f}  {shown(described(name))}"
