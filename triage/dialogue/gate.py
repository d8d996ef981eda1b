"""The last reader before the voice: it decides whether a sentence may be said to a caller.

It refuses by kind: a diagnosis or its exclusion, reassurance, a dose or treatment, a promise, pretending to be human, a
way of harming oneself, an order to wait. It is coarse on purpose: what it refuses is replaced by fixed wording, so a
harmless sentence lost costs nothing, and a harmful one said may cost a life. Fixed
wording passes by its id, never by its looks.
"""

import re
from collections.abc import Mapping

from triage.ports import Saying

_MEASURE = (
    r"(?:mg|milligrams?|mcg|micrograms?|ml|millilit(?:er|re)s?|grams?|units?|tablets?|"
    r"pills?|capsules?|doses?|drops?|puffs?|teaspoons?|tablespoons?)"
)
_ILLNESS = (
    r"(?:flu|influenza|cold|covid|infection|virus|viral|bacterial|strep|tonsillitis|pneumonia|bronchitis|asthma|"
    r"heart attack|angina|stroke|"
    r"clot|embolism|migraine|meningitis|sepsis|appendicitis|gastritis|ulcer|reflux|heartburn|indigestion|gallstones?|"
    r"kidney stones?|"
    r"fracture|sprain|concussion|eczema|hives|shingles|allergy|allergic reaction|anaphylaxis|cancer|tumou?r|"
    r"depression|anxiety|panic attack|"
    r"miscarriage|chickenpox|measles|mumps|whooping cough|scarlet fever|diabetes|food poisoning|muscle strain|"
    r"dehydration|anemia|anaemia|arthritis|gout|hernia)"
)
_MEDICINE = (
    r"(?:aspirin|ibuprofen|advil|motrin|tylenol|acetaminophen|paracetamol|naproxen|aleve|antibiotics?|penicillin|"
    r"amoxicillin|insulin|"
    r"antihistamines?|benadryl|steroids?|painkillers?|pain relievers?|nitroglycerin|nitro|inhaler|warfarin|metformin|"
    r"medicines?|medications?|"
    r"tablets?|pills?|dose|drugs?|syrup|lozenges?)"
)

_REFUSED: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "diagnosis",
        re.compile(
            rf"\b(?:you|he|she|they|it|this|that|your \w+|the (?:patient|child|baby))\b[\w' ]{{0,40}}\b(?:have|has|"
            rf"had|having|is|are|be|been|got|'s|"
            rf"could be|may be|might be|sounds? like|looks? like|seems?|means?|suggests?|"
            rf"indicates?)\b[\w' ]{{0,30}}\b{_ILLNESS}\b|"
            rf"\b(?:sounds?|looks?|seems?) (?:to me )?(?:like|as if)\b|\bsymptoms? of\b|"
            rf"\bsigns? of (?:an? )?{_ILLNESS}\b|"
            rf"\b(?:probably|likely|possibly|certainly|definitely|clearly|just|only|"
            rf"simply)\b[\w' ]{{0,20}}\b{_ILLNESS}\b|"
            r"\bdiagnos\w+|\b(?:rule|rules|ruled|ruling) out\b|\bcaused by\b|\byou are having (?:an? )|"
            r"\byou have (?:an?|the|some) "
            rf"(?!call|question|number|nurse|choice|right|moment)|\byou (?:do not|don't) have\b|\b(?:is|are|it's|"
            rf"this is|that's) not (?:an? )?{_ILLNESS}\b|"
            rf"\b(?:no|without) (?:sign|evidence) of\b|\bit's (?:an? )?{_ILLNESS}\b|\bnot (?:a|an) (?:emergency|"
            rf"{_ILLNESS})\b"
        ),
    ),
    (
        "reassurance",
        re.compile(
            r"\b(?:not|nothing|isn't|never|hardly)\b[\w' ]{0,12}\b(?:serious|dangerous|severe|life threatening|"
            r"an emergency|to worry|urgent)\b|"
            r"\b(?:don't|do not|no need to|needn't) (?:worry|panic|be (?:afraid|worried|scared))\b|\b(?:is|are|be|"
            r"feel|sounds?|seems?|looks?|it's|that's|"
            r"you're|you'll be|he'll be|she'll be|all|perfectly|completely|totally|quite|very) (?:just |all |"
            r"perfectly |completely |totally |quite )?"
            r"(?:fine|normal|harmless|okay|ok|nothing|good|safe|common|alright|all right)\b|\bnormal(?:ly)?\b|"
            r"\bharmless\b|\bmild\b|\bminor\b|"
            r"\bcommon\b|\bnothing (?:serious|wrong|bad)\b|\byou(?:'ll| will) (?:be|feel) (?:fine|okay|ok|better|"
            r"all right|alright)\b|"
            r"\bit(?:'s| is) (?:just|only|probably)\b|\b(?:just|only) (?:a|an|some|your)\b|"
            r"\bgo(?:es)? away (?:by itself|on its own)\b|"
            r"\bget(?:s)? better (?:soon|by itself|on its own)\b|\bno (?:danger|cause for|reason to)\b|"
            r"\bwill (?:pass|heal|clear up)\b|\bcan wait\b"
        ),
    ),
    (
        "dose",
        re.compile(
            rf"\b(?:\d+(?:\.\d+)?|one|two|three|four|five|six|eight|ten|half|a|an|another|double|hundred|"
            rf"thousand)\b[\w' ]{{0,12}} ?{_MEASURE}\b|"
            rf"\d{_MEASURE}\b|\b(?:once|twice|three times|four times|\d times) (?:a|per|every) (?:day|hour|week)\b|"
            rf"\bevery (?:\w+ )?(?:to \w+ )?hours\b|"
            r"\b(?:dosage|overdose|maximum dose|safe dose|higher dose|lower dose)\b"
        ),
    ),
    (
        "treatment",
        re.compile(
            rf"\b(?:take|taking|use|using|try|stop|start|skip|swallow|give|apply|increase|reduce|continue|avoid|"
            rf"change|hold)\b[\w' ]{{0,30}}\b{_MEDICINE}\b|"
            r"\b(?:you|they|he|she) (?:should|must|ought to|need to|could|can|may want to)\b[\w' ]{0,10}\b(?:take|"
            r"try|drink|eat|rest|sleep|drive|walk|lie|sit|"
            r"stand|use|apply|put|stop|start|avoid|keep|stay|go|wait|elevate|ice|give|make|breathe|chew|induce|"
            r"swallow|massage|inject)\b|"
            r"^(?:please |now |just |then )*(?:take|try|drink|eat|rest|sleep|drive|walk|lie|sit|apply|put|elevate|"
            r"ice|chew|gargle|inhale|breathe|"
            r"massage|inject|induce|swallow|stay in bed|keep (?:warm|the|your|him|her|it)|give (?:him|her|the|your|"
            r"it))\b(?! your time)|"
            r"\bi (?:recommend|suggest|advise)\b|\bmy advice\b|\b(?:home remedy|home care|self care)\b|"
            r"\b(?:plenty of (?:rest|fluids|water)|warm salt|"
            r"hot tea|honey|ice pack|cold compress|warm compress|bed rest|lots of water)\b|\bit(?:'s| is) (?:safe|"
            r"fine|okay|ok) to\b"
        ),
    ),
    (
        "promise",
        re.compile(
            r"\b(?:ambulance|paramedics?|help|nurse|doctor|someone|police)\b[\w' ]{0,25}\b(?:on (?:the|its|their|her|"
            r"his) way|will (?:be there|arrive|come)|"
            r"(?:is|are) (?:coming|arriving|on the way)|(?:has|have) been sent|arriv\w+|dispatched)\b|\bi (?:have |"
            r"'ve )?(?:sent|dispatched|called|alerted) "
            r"(?:an? |the )?(?:ambulance|police|paramedics?|help)\b|\bi promise\b|\bi guarantee\b|\bguaranteed\b|"
            r"\bwithin (?:\w+ )?(?:minutes?|seconds?)\b|"
            r"\bin (?:a few|\w+) (?:minutes?|seconds?)\b|\bany (?:minute|second|moment) now\b|\bi have booked\b|"
            r"\bi(?:'ll| will) (?:book|send|call)\b"
        ),
    ),
    (
        "human",
        re.compile(
            r"\b(?:i am|i'm|this is|as|speaking with|talking to) (?:(?:a|an|your|the|one of the|not a|"
            r"not an) (?:\w+ ){0,3})?(?:nurse|doctor|physician|human|human being|"
            r"real person|person|medic|paramedic|clinician|therapist|counsell?or|professional)\b(?! (?:can|will|who|"
            r"to call))|"
            r"\bi(?:'m| am) not (?:a |an )?(?:machine|robot|bot|computer|ai|automated)\b|\bas (?:a|your) (?:nurse|"
            r"doctor|clinician)\b|"
            r"\b(?:in my (?:experience|opinion|judg(?:e)?ment)|my (?:colleague|patients?|training))\b|\b(?:dr|doctor|"
            r"nurse) \w+ (?:here|speaking)\b"
        ),
    ),
    (
        "self_harm",
        re.compile(
            r"\b(?:hang(?:ing)? (?:yourself|himself|herself)|(?:cut|cutting|kill|killing|shoot|shooting|drown|"
            r"drowning|poison|poisoning|burn|burning|stab|"
            r"suffocat\w+|hurt|hurting|harm|harming) (?:yourself|himself|herself|themselves|your (?:wrists?|arms?))|"
            r"slit\w*|noose|jump(?:ing)? (?:off|from)|"
            r"bridge|rooftop|razor|blade|knife|gun|pistol|rope|the pills|your pills|suicid\w*|"
            r"end(?:ing)? your life)\b"
        ),
    ),
    (
        "waiting",
        re.compile(
            r"\bstay on the line\b|\b(?:wait|hold off) (?:until|till|for|and see|a (?:few|couple)|an? (?:hour|day)|"
            r"before|here)\b|\bsee how (?:it|you|things)\b|"
            r"\b(?:no need|don't need|do not need|don't have|do not have|not necessary) (?:to|for)\b|"
            r"\bcall (?:back )?(?:tomorrow|later|next)\b"
        ),
    ),
    ("markup", re.compile(r"[*#_`<>{}\[\]|]|https?:|www\.")),
)
LONGEST_WORDS = 45
"""A longer sentence is no sentence for a telephone."""


_HISTORY = re.compile(
    r"^(?:and |or |so )*(?:do|does|did|have|has|had|are there|is there|any)\b(?! (?:it|this|that)\b)"
    r"(?!.*\b(?:might|could|may|sounds?|looks?|probably|maybe|perhaps|think|thought)\b)[^.!?]*\?$"
)
"""A question about what is known ("do you have asthma?") names an illness without finding one."""


def refusal(text: str) -> str | None:
    """Why this sentence must not be said (diagnosis, reassurance, dose, ...), or None when it may be."""
    said = " ".join(text.lower().replace("’", "'").replace("‘", "'").replace("-", " ").split())
    if not re.search(r"[a-z0-9]", said):
        return "empty"
    stated = " ".join(s for s in re.split(r"(?<=[.!?]) ", said) if not _HISTORY.match(s))
    for why, pattern in _REFUSED:
        if pattern.search(stated if why == "diagnosis" else said):
            return why
    return "too_long" if len(said.split()) > LONGEST_WORDS else None


class Gate:
    """Reads whole sayings: fixed wording passes by id, when it is that wording to the letter."""

    def __init__(self, fixed: Mapping[str, str]) -> None:
        """`fixed`: prompt id -> its wording."""
        self._fixed = dict(fixed)

    def refusal(self, saying: Saying) -> str | None:
        """Why it must not be said, or None."""
        if saying.prompt is not None:
            return None if self._fixed.get(saying.prompt) == saying.text else "not_the_fixed_wording"
        return refusal(saying.text)
