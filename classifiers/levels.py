"""Levels and categories of urgency: the one frozen list. Ids are stored in records; never rename or reuse one."""

from enum import StrEnum


class Level(StrEnum):
    """How soon a nurse must have this caller."""

    EMERGENCY_NOW = "emergency_now"
    """The patient may die before a nurse answers: the emergency number is said first."""
    NURSE_NOW = "nurse_now"
    NURSE_SOON = "nurse_soon"
    ROUTINE = "routine"

    @property
    def urgent(self) -> bool:
        """Whether this level interrupts the call."""
        return self in (Level.EMERGENCY_NOW, Level.NURSE_NOW)


class Category(StrEnum):
    """What kind of danger. The 23 of the red-flag reference, the two mechanical ones last."""

    CHEST = "chest"
    BREATHING = "breathing"
    STROKE = "stroke"
    COLLAPSE = "collapse"
    SEIZURE = "seizure"
    BLEEDING = "bleeding"
    ANAPHYLAXIS = "anaphylaxis"
    SELF_HARM = "self_harm"
    POISONING = "poisoning"
    SEPSIS = "sepsis"
    HEADACHE = "headache"
    PREGNANCY = "pregnancy"
    INFANT = "infant"
    AIRWAY = "airway"
    INJURY = "injury"
    ABDOMEN = "abdomen"
    TESTICLE = "testicle"
    DIABETES = "diabetes"
    SPINE = "spine"
    EYE = "eye"
    LIMB = "limb"
    VIOLENCE = "violence"
    RESCUE = "rescue"
    CLASSIFIER_FAILED = "classifier_failed"
    NONE = "none"
