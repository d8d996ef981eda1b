"""From written lines to examples: slots filled, answers to questions, disfluent and misrecognised copies, stories.

Everything is drawn from generators seeded by the line itself, so that one more line changes no other line's copies.
Copies and the harmless lines put around a line come from the same fold, so that nothing crosses from test to training.
"""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from classifiers.levels import Category, Level
from classifiers.training.corpus import Line, divide, questions, slots, templates, written

SEED = "triage-1"
PER_TEMPLATE, PER_HARMLESS_TEMPLATE = 12, 40
PER_ANSWER = 6


@dataclass(frozen=True, slots=True)
class Example:
    """One line as the model meets it."""

    line: Line
    text: str
    question: str
    how: str
    """written, template, answer, noisy or story."""
    weight: float


_FIRST = {"S": "i", "S2": "i", "is": "am", "is2": "am", "has": "have", "feels": "feel", "feels2": "feel", "poss": "my",
          "gets": "get", "hasnt": "haven't", "P": "i", "T2": "i", "want": "want", "keep": "keep"}  # fmt: skip


def _third(name: str, he: str, possessive: str) -> dict[str, str]:
    return {"S": name, "S2": he, "is": "is", "is2": "is", "has": "has", "feels": "feels", "feels2": "feels",
            "poss": f"{name}'s" if name not in ("he", "she") else possessive, "gets": "gets", "hasnt": "hasn't",
            "T": name, "T2": he, "Tobj": {"he": "him", "she": "her"}.get(name, name), "P": name, "C": name,
            "want": "wants", "keep": "keeps", "later": possessive, "poss3": possessive}  # fmt: skip


_THIRD = [
    _third(name, he, {"he": "his", "she": "her"}[he])
    for name, he in (
        ("he", "he"), ("she", "she"), ("my husband", "he"), ("my wife", "she"), ("my dad", "he"), ("my mom", "she"),
        ("my son", "he"), ("my daughter", "she"), ("grandma", "she"), ("my grandpa", "he"), ("my friend", "he"),
        ("my roommate", "she"), ("this man", "he"), ("a lady here", "she"), ("my coworker", "he"),
        ("my brother", "he"), ("my little girl", "she"), ("mommy", "she"), ("daddy", "he"), ("the patient", "she"),
    )
]  # fmt: skip
_CHILD = ["my toddler", "my two year old", "my son", "my little girl", "the baby", "my grandson", "my kid", "she", "he"]
_ES_FIRST = {"Se": "", "tiene": "tengo", "siente": "siento", "puede": "puedo", "ale": "me"}
_ES_THIRD = [
    {"Se": n, "tiene": "tiene", "siente": "siente", "puede": "puede", "ale": f"a {n} le", "Te": n}
    for n in ("mi esposo", "mi mamá", "mi hijo", "mi hija", "mi papá", "la señora", "mi abuela", "mi hermano")
]
_ES_CHILD = ["mi niño", "mi hija", "el bebé", "mi nieto", "la niña"]
_ALWAYS = {"has3": "has", "is3": "is"}
_SLOT = re.compile(r"\{(\w+)\}")


def _fill(line: Line, values: dict[str, list[str]], rng: random.Random) -> str:
    used = set(_SLOT.findall(line.text))
    if line.language == "es":
        person = dict(rng.choice(_ES_THIRD) if "Te" in used or rng.random() < 0.6 else _ES_FIRST)
        person["Ces"] = rng.choice(_ES_CHILD)
    else:
        third = bool(used & {"T", "Tobj", "poss3", "T2"}) or rng.random() < 0.55
        person = dict(rng.choice(_THIRD) if third else _FIRST)
        if "P" in used and not ({"T"} & used) and rng.random() < 0.5:
            person = dict(_FIRST)
        person["C"] = rng.choice(_CHILD)
    named = False

    def value(match: re.Match[str]) -> str:
        nonlocal named
        slot = match.group(1)
        if slot in _ALWAYS:
            return _ALWAYS[slot]
        if slot in person:
            first = slot == "poss" and named and "later" in person
            named = named or slot in ("S", "T", "P", "poss")
            return person["later"] if first else person[slot]
        return rng.choice(values[slot])

    return " ".join(_SLOT.sub(value, line.text).split())


_YES = ("yes", "yeah", "yes it is", "yes a lot", "yeah a bit", "a little yeah", "uh huh", "yep", "kind of", "yes i think so",
        "yes he does", "yes she does", "yes i am", "i think so yes", "sort of", "um yes", "yes since this morning",
        "yeah it started an hour ago", "a bit", "mhm", "correct", "i guess so yeah",
        "only a little", "sometimes yeah", "yes yes", "it does yeah", "well yes", "i have yes", "yeah i do")  # fmt: skip
_NO = ("no", "nope", "no not really", "not at all", "no ma'am", "no i don't think so", "no none", "nah", "no he isn't",
       "no she isn't", "no he doesn't", "no she doesn't", "no it isn't", "uh no", "no nothing like that", "no i can't",
       "no he can't", "no she can't", "not that i can tell", "no not right now", "no i'm not", "no never", "no no",
       "none of that", "he isn't no", "not really", "i don't", "no thanks", "um no i don't", "no just the cold")  # fmt: skip
_SI = ("sí", "si", "sí señorita", "si un poco", "claro que sí", "un poquito", "creo que sí", "si desde hoy",
       "ajá", "pues sí", "sí tengo", "sí tiene")  # fmt: skip
_NO_ES = (
    "no",
    "no nada",
    "no para nada",
    "no señorita",
    "no no tengo",
    "no no tiene",
    "nunca",
    "pues no",
    "que yo sepa no",
)
_NEUTRAL = ("the one on main street", "about three days", "my mother", "tomorrow is fine", "it's getting better", "okay",
            "since monday", "thank you", "metformin", "at home", "thirty five", "i think it's the blue one", "i don't know",
            "es mi mamá", "desde ayer", "no sé")  # fmt: skip


def answers(question: Line, rng: random.Random) -> Iterable[tuple[str, Level, Category]]:
    """Short answers to a question with what they mean."""
    yes, no = (_SI, _NO_ES) if question.language == "es" else (_YES, _NO)
    for said, words in (("yes", yes), ("no", no)):
        dangerous = said == question.kind
        for word in rng.sample(words, min(PER_ANSWER, len(words))):
            if dangerous:
                yield word, question.level, question.category
            else:
                yield word, Level.ROUTINE, Category.NONE
    if question.kind == "any":
        for word in rng.sample(_NEUTRAL, 4):
            yield word, Level.ROUTINE, Category.NONE


_OPENERS = ("hi", "hello um", "yeah hi i'm calling because", "good morning", "so", "okay so um", "hi i'm sorry to bother you",
            "um hi yeah", "well", "i'm calling because", "listen", "i don't know if this matters but", "hi this is anna",
            "yes hello", "uh", "so basically", "hey", "hi there my name's mark and", "hola", "buenas", "mire", "oiga pues",
            "bueno le llamo porque", "eh", "sorry", "i was told to call", "my doctor's office said to call here",
            "it's probably nothing but", "not sure who to ask but", "quick question")  # fmt: skip
_TAILS = ("and i wasn't sure what to do", "that's why i'm calling", "and yeah", "i don't know", "thank you", "okay",
          "what should i do", "so i thought i'd call", "can you help me", "please", "you know", "and that's it",
          "no sé qué hacer", "gracias", "por favor", "is that okay", "should i come in", "what do you think", "um")  # fmt: skip
_FILLERS = ("um", "uh", "like", "you know", "er", "well", "i mean", "este", "eh")
_SMALL = "a an the is are am to of my his her it i he she and in on at el la un una de en me se que los"
_DROPPED = frozenset(_SMALL.split())
_HEARD = {
    "chest": ("chess", "just", "jest"), "breathe": ("breath", "breed", "breeze"), "breathing": ("breeding", "breath in"),
    "breath": ("breathe", "breast"), "pain": ("pane", "pay in", "paint"), "heart": ("hard", "hurt", "art"),
    "hurts": ("hearts", "hurt"), "bleeding": ("bleating", "leading", "believing"), "blood": ("bled", "flood", "but"),
    "stroke": ("struck", "strokes"), "seizure": ("see sure", "caesar", "seizures"), "throat": ("throw", "throwed"),
    "swelling": ("swelling up", "smelling", "dwelling"), "swollen": ("swole in", "stolen"), "faint": ("feint", "paint"),
    "pills": ("peels", "bills", "pill"), "vomiting": ("vomit in", "omitting"), "weak": ("week", "we"), "numb": ("num", "none"),
    "face": ("phase", "base"), "sugar": ("shugar", "sugars"), "tongue": ("tung", "tone", "time"), "lips": ("leaps", "lip"),
    "fainted": ("painted", "faint did"), "wake": ("weight", "way"), "waking": ("walking", "making"), "fever": ("favor", "feever"),
    "unconscious": ("on conscious", "an conscious"), "choking": ("joking", "choke in"), "dizzy": ("busy", "disy"),
    "pregnant": ("pregnat", "fragment"), "baby": ("maybe", "babies"), "pressure": ("pressures", "fresher"),
    "ambulance": ("ambulances", "am balance"), "arm": ("harm", "army"), "leg": ("lag", "egg"), "blue": ("blew", "glue"),
    "eye": ("i", "ai"), "swallow": ("swallowed", "wallow"), "stomach": ("stomachs", "some ache"), "belly": ("billy", "valley"),
    "testicle": ("tentacle", "test call"), "insulin": ("insulating", "in salim"), "inhaler": ("in hailer", "in heller"),
    "hives": ("highs", "lives"), "suicide": ("sue side",), "overdose": ("over dose", "overdosed"), "kill": ("kiln", "keel"),
    "appointment": ("a pointment", "appointments"), "refill": ("re fill", "refuel"), "prescription": ("subscription",),
    "cough": ("coff", "calf"), "rash": ("rush", "rush"), "throwing": ("growing", "throw in"), "his": ("is", "he's"),
    "pecho": ("hecho", "pechos"), "respirar": ("respira", "inspirar"), "duele": ("duelo", "doy le"), "sangre": ("sangra",),
    "aire": ("ayer", "aires"), "desmayo": ("de mayo", "desmayó"), "fiebre": ("fibra", "fiebres"), "cita": ("sita",),
    "can't": ("cant", "can", "can not"), "won't": ("want", "wont"), "doesn't": ("does not", "dozen"), "isn't": ("is not",),
    "i'm": ("i am", "um"), "two": ("to", "too"), "four": ("for",), "there": ("their",), "know": ("no",),
}  # fmt: skip


def disfluent(words: list[str], rng: random.Random) -> list[str]:
    """Hesitations, doubled words and false starts."""
    out: list[str] = []
    for at, word in enumerate(words):
        roll = rng.random()
        if roll < 0.06:
            out.append(rng.choice(_FILLERS))
        elif roll < 0.11:
            out.append(word)
        elif roll < 0.13 and at + 1 < len(words):
            out += [word, words[at + 1]]
        out.append(word)
    return out


def misheard(words: list[str], rng: random.Random) -> list[str]:
    """A recogniser's errors: sound-alikes, dropped small words, joined and split words, wrong letters."""
    out: list[str] = []
    for word in words:
        roll = rng.random()
        bare = word.strip(".,!?")
        if bare in _HEARD and roll < 0.22:
            out += rng.choice(_HEARD[bare]).split()
        elif bare in _DROPPED and roll < 0.12:
            continue
        elif roll < 0.02 and out and len(out[-1]) < 5:
            out[-1] += bare
        elif roll < 0.035 and len(bare) > 6:
            cut = rng.randrange(3, len(bare) - 2)
            out += [bare[:cut], bare[cut:]]
        elif roll < 0.07 and len(bare) > 4:
            at = rng.randrange(1, len(bare) - 1)
            out.append(bare[:at] + (bare[at + 1 :] if rng.random() < 0.5 else rng.choice("aeiourst") + bare[at + 1 :]))
        else:
            out.append(word)
    return out or words


def noisy(text: str, rng: random.Random) -> str:
    """A spoken and recognised copy of a line."""
    words = text.lower().replace(",", "").split()
    if rng.random() < 0.7:
        words = disfluent(words, rng)
    if rng.random() < 0.75:
        words = misheard(words, rng)
    return " ".join(words)


def _story(line: Line, rng: random.Random, harmless: Sequence[Line]) -> str:
    """The line inside a longer turn: openers, tails, and for most harmless lines of the same fold around it."""
    parts = [line.text]
    roll = rng.random()
    if roll < 0.35 and harmless:
        parts.insert(0, rng.choice(harmless).text)
    elif roll < 0.6 and harmless:
        parts.append(rng.choice(harmless).text)
    elif roll < 0.7 and len(harmless) > 1:
        parts = [rng.choice(harmless).text, line.text, rng.choice(harmless).text]
    if rng.random() < 0.6 or len(parts) == 1:
        parts.insert(0, rng.choice(_OPENERS))
    if rng.random() < 0.4:
        parts.append(rng.choice(_TAILS))
    joint = rng.choice((" ", " ", " and ", ". ", " um "))
    return joint.join(parts)


def examples(lines: Sequence[Line] | None = None) -> list[Example]:
    """Every example of the corpus (or of `lines`, written ones only), with its fold and weight, in a fixed order."""
    base: list[tuple[Line, str]] = []
    if lines is None:
        values = slots()
        made: list[tuple[Line, str]] = [(line, "written") for line in written()]
        for template in templates():
            rng = random.Random(f"{SEED}|{template.family}|{template.text}")
            texts = sorted(
                {
                    _fill(template, values, rng)
                    for _ in range(PER_TEMPLATE if template.level.urgent else PER_HARMLESS_TEMPLATE)
                }
            )
            made += [(replace(template, text=text), "template") for text in texts]
        for question in questions():
            rng = random.Random(f"{SEED}|{question.family}|{question.text}")
            for word, level, category in answers(question, rng):
                kind = "answer" if level.urgent else "answer_harmless"
                made.append(
                    (replace(question, text=word, question=question.text, level=level, category=category, kind=kind),
                     "answer")
                )  # fmt: skip
        folds = {line.family: line.fold for line in divide([line for line, _ in made])}
        base = [(replace(line, fold=folds[line.family]), how) for line, how in made]
    else:
        base = [(line, "written") for line in divide(lines)]
    plain: dict[tuple[int, bool], list[Line]] = {}
    asked: dict[int, list[str]] = {}
    for line, how in base:
        if how == "written" and not line.urgent and line.kind in ("admin", "complaint", "smalltalk", "calm_relative"):
            plain.setdefault((line.fold, line.language == "es"), []).append(line)
        if how == "answer" and line.kind == "answer_harmless" and line.category == Category.NONE:
            asked.setdefault(line.fold, []).append(line.question)
    found: list[Example] = []
    for line, how in base:
        found += _copies(line, how, plain.get((line.fold, line.language == "es"), []), asked.get(line.fold, []))
    return found


def _copies(line: Line, how: str, harmless: Sequence[Line], asked: Sequence[str]) -> list[Example]:
    rng = random.Random(f"{SEED}|{line.family}|{line.text}|{line.question}")
    if how == "answer":
        return [
            Example(line, line.text, line.question, "answer", 0.7),
            Example(line, noisy(line.text, rng), line.question, "answer", 0.3),
        ]
    share = 1.0 if how == "written" else 0.35
    question = line.question
    if not question and asked and rng.random() < 0.25 and len(line.text.split()) > 4:
        question = rng.choice(asked)
    found = [
        Example(line, line.text, line.question, how, 0.4 * share),
        Example(line, noisy(line.text, rng), question, "noisy", 0.25 * share),
    ]
    if how == "written":
        found.append(Example(line, noisy(line.text, rng), line.question, "noisy", 0.2))
        if len(line.text.split()) > 2:
            found.append(Example(line, _story(line, rng, harmless), "", "story", 0.15))
            found.append(Example(line, noisy(_story(line, rng, harmless), rng), question, "story", 0.15))
    return found
