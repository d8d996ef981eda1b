"""What a caller's turn means for the interview: a request about the call, a correction, an answer. Pure rules."""

import re
from dataclasses import dataclass
from enum import StrEnum

from triage.dialogue import answers
from triage.dialogue.numbers import phone_digits, words_of
from triage.dialogue.wording import Question


class Intent(StrEnum):
    """What a turn asks of the call itself."""

    PERSON = "person"
    NO_MACHINE = "no_machine"
    NO_RECORD = "no_record"
    NO_ENGLISH = "no_english"
    CHILD = "child"
    REPEAT = "repeat"
    HOLD = "hold"
    WHO_ARE_YOU = "who_are_you"
    THANKS = "thanks"


_PEOPLE = (
    r"(?:nurse|person|human|human being|somebody|someone|doctor|operator|agent|real person|live person|staff|"
    r"receptionist|"
    r"representative)"
)
_WANTS = r"(?:want|need|like|get|give|speak|talk|connect|transfer|put|pass|let me|can i have|could i have|may i have)"
_MACHINES = r"(?:machine|robot|computer|bot|chatbot|automated \w+|automated|automat|ai)s?"
_INTENTS: tuple[tuple[Intent, re.Pattern[str]], ...] = (
    (
        Intent.NO_RECORD,
        re.compile(
            r"\b(?:don't|do not|not|never|stop|refuse|without|mustn't|can't you not)\b[\w' ]{0,30}\b(?:recorded|"
            r"recording|record (?:this|me|it|"
            r"that|my|us|anything|what)|written down|writ(?:e|ing) (?:(?:this|it|that|me|anything|what i say) )?down|"
            r"taking notes|take notes)\b|"
            r"^(?:please |no )*(?:don't|do not) record\b|\bno recording\b"
        ),
    ),
    (
        Intent.NO_MACHINE,
        re.compile(
            r"\b(?:don't|do not|not|won't|refuse|hate|never|can't stand)\b[\w' ]{0,12}\b(?:talk|speak|talking|"
            r"speaking|deal|dealing|to|with)\b"
            rf"(?: (?:to|with|a|an|the|some|any|this|these|no))* {_MACHINES}\b|\bno (?:machines|robots|computers|"
            rf"bots|ai)\b|"
            rf"\b(?:don't|do not) (?:want|like) (?:a|an|this|the|any)? ?(?:robot|computer|bot|automated \w+|ai)s?\b"
        ),
    ),
    (
        Intent.PERSON,
        re.compile(
            rf"^(?:(?:a|the|uh|um|please|yes|no|just|hello|hi|hey) )*{_PEOPLE}(?: (?:please|now))*$|"
            rf"\b{_WANTS}\b(?: (?:me|you|to|a|an|the|some|with|through|on|real|live|actual|human|speak|talk|just|my|"
            rf"please|over)){{0,6}} "
            rf"{_PEOPLE}\b(?! (?:who|else|told|said|that|to|sick|ill|with|about|for|because))|"
            rf"\b(?:speak|talk|speaking|talking) (?:to|with) (?:a |an |the |some )?(?:real |live |actual |"
            rf"human )*{_PEOPLE}\b|"
            rf"\bis there (?:a|any) {_PEOPLE}\b"
        ),
    ),
    (
        Intent.NO_ENGLISH,
        re.compile(
            r"\b(?:no (?:hablo |speak )?(?:english|ingles|inglés)|don't speak english|do not speak english|"
            r"not speak english|"
            r"hablas? (?:usted )?(?:espanol|español)|hablan (?:espanol|español)|en (?:espanol|español)|"
            r"speak (?:spanish|french|"
            r"chinese|mandarin|arabic|polish|german|portuguese|vietnamese|russian|korean)|an? interpreter|"
            r"an? translator)\b"
        ),
    ),
    (
        Intent.CHILD,
        re.compile(r"\bmy (?:mommy|mummy|mama|daddy)\b|\b(?:mommy|mummy)'?s?\b (?:is|won't|fell|isn't|can't)"),
    ),
    (
        Intent.REPEAT,
        re.compile(
            r"\b(?:say (?:that|it) again|repeat (?:that|it|the question|please)|come again|say again|"
            r"what did you say|"
            r"what was that|what was the question|once more|one more time)\b|"
            r"\b(?:didn't|did not|couldn't|can't|don't|do not) (?:quite )?(?:hear|catch|get|understand)"
            r"(?: (?:you|that|it|what you said|the question))?(?: sorry)?$|"
            r"^(?:(?:i'm )?sorry|pardon(?: me)?|excuse me|what|huh|eh|again|repeat)(?: (?:what|please))?$"
        ),
    ),
    (
        Intent.HOLD,
        re.compile(
            r"^(?:(?:uh|um|oh|okay|ok|yes|yeah|no|sorry|please|can you|could you|well|and|just) )*"
            r"(?:hold on|hang on|hold the line|bear with me|wait|(?:just )?(?:a|one|give me a|give me one|wait a|"
            r"wait one) "
            r"(?:second|sec|moment|minute|min|tick))\b(?! ago)(?: (?:please|for|a|an|one|just|second|sec|moment|"
            r"minute|min|bit|there|on|now|ok|okay|i'll|i will|i|need|have|"
            r"to|let|me|check|look|see|get|find|think|grab|fetch|it|him|her|my|the|a|pen|paper|card|bottle|phone|"
            r"glasses|ask|go|and|while|up)){0,9}$"
        ),
    ),
    (
        Intent.WHO_ARE_YOU,
        re.compile(
            r"\b(?:are you|am i (?:talking|speaking) (?:to|with)|is this) (?:a |an )?(?:real |actual |live )?"
            r"(?:person|human|robot|machine|computer|bot|nurse|doctor|recording|ai|automated)\b|\bwho (?:are you|"
            r"is this|am i)\b"
        ),
    ),
    (
        Intent.THANKS,
        re.compile(
            r"^(?:(?:okay|ok|all right|alright|great|good|thanks?|thank you|very much|so much|a lot|bye|goodbye|"
            r"bye bye|yes|"
            r"no|that's all|that is all|nothing else|perfect|you too|will do|fine|cheers|then|and|have a good (?:day|"
            r"night|one)"
            r"|for your help|understood|got it|right) ?)+$"
        ),
    ),
)
_SHORT = {Intent.REPEAT: 9, Intent.HOLD: 8, Intent.THANKS: 12, Intent.WHO_ARE_YOU: 12, Intent.CHILD: 40}
"""Longer turns say more than that."""
_SPANISH = frozenset(
    {
        "me",
        "duele",
        "tengo",
        "estoy",
        "mi",
        "hija",
        "hijo",
        "ayuda",
        "por",
        "favor",
        "que",
        "está",
        "esta",
        "necesito",
        "dolor",
        "fiebre",
        "hablo",
        "no",
        "sé",
        "se",
        "muy",
        "para",
        "el",
        "la",
        "los",
        "una",
        "un",
        "es",
        "señora",
        "gracias",
        "hola",
        "buenos",
        "días",
        "desde",
        "ayer",
        "cabeza",
        "niño",
        "niña",
        "esposo",
        "esposa",
        "mamá",
        "tiene",
        "puedo",
        "hace",
    }
)
_CLEARLY_SPANISH = _SPANISH - {"no", "me", "la", "es", "el", "un", "se", "para"}
_ASKS = re.compile(
    r"^(?:(?:and|but|so|wait|okay|ok|um|uh|sorry|no|yes) )*(?:when|what|what's|how|who|where|why|which|can (?:i|you|"
    r"we|he|she)|"
    r"could (?:i|you)|should (?:i|we|he|she)|do (?:i|you|we)|does|did|will (?:i|you|they|the|she|he)|is (?:it|that|"
    r"there)|are (?:you|they))\b"
)
_PARTICLE = re.compile(
    r"^(?:(?:no|nope|nah|well|um|uh) )+(?=(?:i|i'm|i've|i've got|my|it's|it|he|he's|she|she's|his|her|we|our|just|"
    r"but|only|there's|the)\b)"
)
_LEAD = re.compile(
    r"\b(?:i said|i meant|i mean|correction|that's wrong|that is wrong|that's not right|that is not right|"
    r"that's not correct|"
    r"you got that wrong|wrong number)\b"
)
_SOFT_LEAD = re.compile(
    r"^(?:no|nope|sorry|actually|wait)(?: no)*,? ?(?:it's|it is|i'm|i am|he's|he is|she's|she is|not \w+)?\b"
)


def intent_of(text: str) -> Intent | None:
    """The request about the call, if the turn is one."""
    said = answers.plain(text)
    size = len(said.split())
    for intent, pattern in _INTENTS:
        if size > _SHORT.get(intent, 60):
            continue
        if pattern.search(said):
            return intent
    return None


def is_question(text: str) -> bool:
    """Whether the caller asks something."""
    return text.rstrip().endswith("?") or _ASKS.match(answers.plain(text)) is not None


def without_particle(text: str) -> str:
    """Without a "no" that only answers the question before it: "no, my throat hurts" denies no throat."""
    return _PARTICLE.sub("", " ".join(words_of(text)))


def foreign(text: str) -> bool:
    """Whether the turn is plainly Spanish: two telling words, at least half of all."""
    words = words_of(text)
    telling = sum(w in _CLEARLY_SPANISH for w in words)
    return telling >= 2 and 2 * sum(w in _SPANISH for w in words) >= len(words)


def answer(question: Question, text: str) -> str | None:
    """The value of an answer to `question`, or None when the words do not answer it.

    yes_no: yes, no or maybe. open: the words, or "none".
    """
    said = answers.plain(text)
    match question.kind:
        case "yes_no":
            return _looked_for(question, said) or answers.yes_no(text)
        case "phone":
            return phone_digits(text)
        case "age":
            found = answers.age(text, asked=True)
            return str(found) if found else None
        case "sex":
            return answers.sex(text)
        case "who":
            return answers.who(text, asked=True)
        case "temperature":
            degrees = answers.temperature_c(text)
            return None if degrees is None else f"{degrees:g}"
        case "onset":
            told = len(said.split()) >= 3 and answers.yes_no(text) is None
            return answers.onset(text) or (answers.free_text(text) if told else None)
        case _:
            if answers.nothing(text):
                return "none"
            return None if said in ("yes", "yeah", "yep", "okay", "ok", "i do", "yes i do") else answers.free_text(text)


def fits(question: Question, text: str) -> bool:
    """Whether the words answer the question by themselves, though it was not heard: "yes" might answer anything."""
    match question.kind:
        case "phone":
            return phone_digits(text) is not None
        case "age":
            return answers.age(text) is not None
        case "sex":
            return answers.sex(text) is not None
        case "who":
            return answers.who(text) is not None
        case "onset":
            return answers.onset(text) is not None
        case _:
            return False


def _looked_for(question: Question, said: str) -> str | None:
    for value in ("no", "yes"):
        for phrase in question.look_for.get(value, ()):
            found = re.search(rf"\b{re.escape(phrase)}\b", said)
            if found is None:
                continue
            before = said[: found.start()].split()[-3:]
            if value == "yes" and {"no", "not", "isn't", "don't", "doesn't", "never", "without"} & set(before):
                return "no"
            return value
    return None


@dataclass(frozen=True, slots=True)
class Correction:
    """The caller takes something back."""

    rest: str
    """What should stand instead; may be empty."""
    plainly: bool
    """Said in so many words ("I said", "that's wrong"), not only by a "no"."""


def correction_of(text: str) -> Correction | None:
    """Whether the turn corrects what was noted before."""
    said = " ".join(words_of(text))
    if lead := _LEAD.search(said):
        return Correction(said[lead.end() :].strip(), plainly=True)
    if (soft := _SOFT_LEAD.match(said)) and len(said) > soft.end():
        return Correction(said[soft.end() :].strip(), plainly=said.startswith("actually"))
    return None
