"""What an answer says: yes or no, an age, who the patient is, when it began. Pure text rules, no state.

Each reader returns None when the words do not say it; nothing is guessed. What sounds like a danger is not judged
here but by the classifier, which reads every word of every answer before this module does.
"""

import re
from dataclasses import dataclass

from triage.dialogue.numbers import numbers_in, words_of

DAYS = {"day": 1.0, "week": 7.0, "month": 30.44, "year": 365.25}

_YES = re.compile(
    r"^(?:(?:well|oh|um|uh|er|erm|so|and|god|actually|i think)\s+)*"
    r"(?:yes|yeah|yep|yup|ya|yah|sure|correct|right|exactly|definitely|absolutely|of course|indeed|uh huh|"
    r"that's right|"
    r"that is right|that's correct|affirmative|a little|a bit|a lot|some|sometimes|slightly|kind of|"
    r"sort of|quite|very)\b"
)
_YES_ALONE = re.compile(
    r"^(?:(?:well|oh|um|uh|er|erm|so|and|god|actually|i think)\s+)*"
    r"(?:(?:i|they|we) (?:do|have|can)|i (?:am|did)|(?:he|she) (?:is|does|has|can)|it (?:is|does|has|can)|there is|"
    r"they are)(?: (?:yes|yeah|though|now|too|really|sometimes|quite|indeed|sir|maam|please|a bit|a little|i think)){0,2}$"
)
"""An answer only when next to nothing follows: "i have", "it is, yes"; "i have a cough for a week" tells something else."""
_NO = re.compile(
    r"^(?:(?:well|oh|um|uh|er|erm|so|and|god|actually|i think)\s+)*"
    r"(?:no|nope|nah|not|none|nothing|never|negative|neither|i don't|i do not|i'm not|i am not|i haven't|i have not|"
    r"he isn't|she isn't|he's not|she's not|he doesn't|she doesn't|he hasn't|she hasn't|it isn't|it's not|it doesn't|"
    r"i can't|i cannot|he can't|she can't|they can't|it can't|he cannot|she cannot|"
    r"there isn't|there is no|there's no|there's none|they aren't|they don't|don't think so|i don't think so|"
    r"all normal)\b"
)
_MAYBE = re.compile(r"\b(?:maybe|perhaps|possibly|probably|could be|might be|might|i think so|i guess|i suppose)\b")
_DONT_KNOW = re.compile(
    r"\b(?:(?:i )?(?:don't|do not|dunno|can't|cannot) (?:really )?(?:know|tell|say|remember)|not sure|no idea|unsure|"
    r"hard to say|who knows|i'm not certain|dunno)\b"
)
_FEMALE = (
    "daughter|mother|mom|mum|mommy|mummy|wife|sister|grandmother|grandma|granny|aunt|niece|"
    "girlfriend|girl|woman|female|lady|gal"
)
_MALE = (
    "son|father|dad|daddy|husband|brother|grandfather|grandpa|grandad|uncle|nephew|boyfriend|boy|man|male|gentleman|guy"
)
_SOMEBODY = (
    f"{_FEMALE}|{_MALE}|baby|child|kid|infant|toddler|partner|friend|neighbour|neighbor|patient|parent|colleague|"
    f"boss|"
    "roommate|flatmate|cousin|spouse|newborn|grandson|granddaughter|stepson|stepdaughter"
)
_OTHER = re.compile(
    rf"\b(?:(?:my|our|a|the|his|her)(?: \w+){{0,4}}? (?:{_SOMEBODY})\b|someone else|somebody else|another person|"
    r"(?:my|our|a|an|the) (?:\w+ ){1,3}(?:year|month|week|day)s? olds?\b|for (?:him|her|them)\b|(?:he|she) (?:is|has|"
    r"was|can't|won't|keeps|got|feels|says)\b|(?:he|she)'s\b)"
)
_SELF = re.compile(
    r"\b(?:myself|for me|it's me|it is me|i'm the patient|i am the patient|me myself|just me|i am calling for me|"
    r"self)\b|^me$"
)
_OWN = re.compile(r"\b(?:i have|i've|i'm|i am|i got|i feel|i need|i keep|my (?!\w+ (?:is|has|was|can't|won't)\b)\w+)\b")
_FILLERS = frozenset(
    {"uh", "um", "er", "erm", "ah", "hm", "hmm", "mm", "well", "so", "like", "okay", "ok", "please", "the", "a"}
)
_ONSET = re.compile(
    r"\b(?:since [\w' ]{2,40}|(?:for |about |over |almost |nearly )*(?:the )?(?:past |last )?"
    r"(?:a |an |\d+|one|two|three|four|five|six|seven|eight|nine|ten|twelve|few|couple(?: of)?|several|"
    r"half an?)[\w ]{0,12}?"
    r"(?:minutes?|hours?|days?|weeks?|months?|years?|nights?)(?: ago| now)?|"
    r"(?:yesterday|today|tonight|last night|this (?:morning|afternoon|evening|week)|last week|just now|right now|"
    r"recently|"
    r"(?:on )?(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)|a while ago|all (?:day|night|week)))\b"
)


_IS = re.compile(r"(?:\bi'm|\bhe's|\bshe's|\b(?:i am|he is|she is))$")


@dataclass(frozen=True, slots=True)
class Age:
    """An age as it was said."""

    number: float
    unit: str
    """day, week, month or year."""

    @property
    def days(self) -> float:
        """In days."""
        return self.number * DAYS[self.unit]

    def __str__(self) -> str:
        shown = f"{self.number:g}"
        return f"{shown} {self.unit}{'' if self.number == 1 else 's'}"

    @classmethod
    def parse(cls, value: str) -> "Age":
        """Back from `str(age)`."""
        number, unit = value.split()
        return cls(float(number), unit.removesuffix("s"))


def plain(text: str) -> str:
    """Lower-case words with single blanks; what every rule below reads."""
    return " ".join(words_of(text))


def yes_no(text: str) -> str | None:
    """Yes, no, maybe (it may be so) or None.

    The first words decide: "no, just a cough" is no; what comes after it is judged elsewhere.
    """
    said = plain(text)
    if dont_know(text):
        return None
    if re.search(r"^(?:yes|yeah|no|nope)\W*$", said):
        return "no" if said.startswith("no") else "yes"
    if re.search(r"\bno\b.{0,12}\byes\b|\byes\b.{0,12}\bno\b(?! (?:problem|doubt))", said):
        return None  # "no, yes, a bit": ask again
    if _NO.search(said):
        return "no" if not re.search(r"^(?:not really sure|nothing but|no doubt|not only|never better)", said) else None
    if _YES.search(said) or _YES_ALONE.search(said):
        return "yes"
    if _MAYBE.search(said):
        return "maybe"
    return None


def dont_know(text: str) -> bool:
    """Whether the words say that the answer is not known."""
    return _DONT_KNOW.search(plain(text)) is not None


def age(text: str, *, asked: bool = False) -> Age | None:
    """An age. Unless it was `asked` for, it needs "old", "aged" or the like, so that "two days" of pain is none."""
    words = words_of(text)
    joined = " ".join(words)
    for value, first, after in numbers_in(words):
        rest = words[after : after + 3]
        unit = rest[0].removesuffix("s") if rest else ""
        before = words[max(0, first - 2) : first]
        old = "old" in rest or "aged" in before or "age" in before
        if unit in DAYS:
            if asked or old:
                return _sane(Age(value, unit))
        elif asked or old or (_IS.search(" ".join(before)) and rest[:1] in ([], ["and"], ["but"])):
            return _sane(Age(value, "year"))
    if asked and re.search(r"\bnew ?born\b|\bjust born\b", joined):
        return Age(1, "day")
    if asked and (one := re.search(r"\b(?:a|an|one) (day|week|month|year)s?\b", joined)):
        return Age(1, one[1])
    return None


def _sane(age: Age) -> Age | None:
    return age if age.days <= 120 * DAYS["year"] and age.number > 0 else None


def who(text: str, *, asked: bool = False) -> str | None:
    """self, or the patient as the caller names them ("my daughter", "someone else")."""
    said = plain(text)
    if _SELF.search(said):
        return "self"
    if found := re.search(rf"\b(?:my|our)(?: \w+){{0,4}}? ({_SOMEBODY})\b", said):
        return f"{found[1]}"
    if _OTHER.search(said):
        return "someone else"
    if _OWN.search(said) and not asked:
        return "self"
    if asked and (re.search(r"\b(?:me|mine|i am|i)$", said) or _OWN.search(said)):
        return "self"
    return None


def sex(text: str) -> str | None:
    """Male or female, said outright or by the word for the person."""
    said = plain(text)
    female = re.search(rf"\b(?:{_FEMALE}|she|she's|her)\b|^f$", said)
    male = re.search(rf"\b(?:{_MALE}|he|he's|him)\b|^m$", said)
    if bool(female) == bool(male):
        return None
    return "female" if female else "male"


def pregnant(text: str) -> str | None:
    """Yes or no, only when the words speak of it."""
    said = plain(text)
    if re.search(r"\b(?:not|isn't|no longer) (?:currently |even )?pregnant\b", said):
        return "no"
    if re.search(
        r"\b(?:i'm|i am|she's|she is|could be|might be|maybe|and) (?:\w+ ){0,3}pregnant\b|weeks pregnant|gave birth",
        said,
    ):
        return "yes"
    return None


def onset(text: str) -> str | None:
    """When it began, in the caller's words."""
    found = _ONSET.search(plain(text))
    return found[0].strip() if found else None


def onset_days(text: str) -> float | None:
    """How many days ago that was; None when it cannot be told."""
    said = plain(text)
    if re.search(
        r"\b(?:today|tonight|this morning|this afternoon|this evening|just now|right now|minutes?|hours?)\b", said
    ):
        return 0.0
    if re.search(r"\b(?:yesterday|last night)\b", said):
        return 1.0
    words = words_of(said)
    for value, _, after in numbers_in(words):
        unit = words[after].removesuffix("s") if after < len(words) else ""
        if unit in DAYS:
            return value * DAYS[unit]
    if found := re.search(r"\b(a|an|few|couple(?: of)?|several) (day|week|month|year)s?\b", said):
        return {"a": 1.0, "an": 1.0, "several": 4.0, "few": 3.0}.get(found[1], 2.0) * DAYS[found[2]]
    return 7.0 if "last week" in said or "all week" in said else None


def temperature_c(text: str) -> float | None:
    """A body temperature in degrees Celsius; Fahrenheit is told by its size."""
    for value, _, _ in numbers_in(words_of(text)):
        if 34 <= value <= 43:
            return round(value, 1)
        if 93 <= value <= 110:
            return round((value - 32) * 5 / 9, 1)
    return None


def free_text(text: str) -> str | None:
    """The words, when there is more in them than a hesitation."""
    content = [w for w in words_of(text) if w not in _FILLERS]
    return text.strip().rstrip(".") if content and not dont_know(text) else None


def nothing(text: str) -> bool:
    """Whether an open question ("any medicines?") was answered with none."""
    said = plain(text)
    if re.search(r"\b(?:but|except|only|just|apart from|besides)\b", said):
        return False
    return (
        bool(re.match(r"(?:no|none|nothing|nope|not|never|nah|i don't|i do not|i haven't)\b", said))
        and len(said.split()) <= 9
    )
