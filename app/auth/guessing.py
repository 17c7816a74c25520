"""When wrong passwords have been too many. Pure.

Five for one account from one place within five minutes shut that place out for five minutes. Ten from anywhere shut
everybody out for half an hour, but for the places where the account has signed in lately: nobody is locked out of the
own account by somebody else's guesses.
"""

from collections.abc import Sequence
from typing import NamedTuple

from app.values import seconds


class Rule(NamedTuple):
    """So many failures within the window shut out for as long as the window, counted from the last of them."""

    failures: int
    window_s: int


FROM_ONE_PLACE = Rule(5, 300)
FROM_ANYWHERE = Rule(10, 1800)
KNOWN_DAYS = 30
"""How long the place of a successful sign-in counts as known."""


def shut_out_s(rule: Rule, latest: Sequence[str], now: str) -> float:
    """How much longer nobody may try, by the latest failures, newest first; 0 when one may."""
    if len(latest) < rule.failures:
        return 0.0
    newest, oldest = seconds(latest[0]), seconds(latest[rule.failures - 1])
    if newest - oldest > rule.window_s:
        return 0.0
    return max(0.0, min(newest + rule.window_s - seconds(now), rule.window_s))
