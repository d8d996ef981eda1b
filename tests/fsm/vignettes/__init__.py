"""Whole calls as tables: what happened, where the call is then, what was ordered, which timers run.

To be read and corrected by people who know callers, not code. `...` means: not looked at here. Orders about timers are
left out of the third column; the fourth names the timers that run afterwards. Every call begins with the greeting
(playback 1) unless it says otherwise; two rungs are tried for urgent callers (a nurse's telephone, then the queue),
three for the others (queue, telephone, desk). What the words in the tables stand for is in `shorthand.py`.
"""

from tests.fsm.vignettes.nurses import NURSES
from tests.fsm.vignettes.shorthand import Row
from tests.fsm.vignettes.silence import SILENCE
from tests.fsm.vignettes.talk import TALK

VIGNETTES: dict[str, list[Row]] = {**TALK, **SILENCE, **NURSES}
