"""Guesses of the next tokens from what a sequence already holds: prompt lookup (arXiv 2304.04487, section 3).

In: a sequence. Out: tokens that followed the last time its end occurred. Tool calls and quotes repeat their prompt, and
checking a few tokens at once costs little more than computing one. How often guesses were right decides how often to
guess. It does not know who checks them; a wrong guess costs time, never a different reply.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST = 5
"""Most tokens guessed at once."""
LENGTHS = (3, 2)
"""Lengths of the ends that are looked up, longest first."""
WORTH = 0.6
"""Accepted tokens a guess that pay for checking it."""
REST = 12
"""Steps without guesses after they have not paid."""


@dataclass(slots=True)
class Lookup:
    """The guesses for one sequence."""

    hope: float = 2.0
    """Moving mean of accepted tokens."""
    resting: int = 0

    def guess(self, tokens: np.ndarray, most: int) -> np.ndarray:
        """Up to `most` tokens that may follow; none where nothing is known or guessing did not pay lately."""
        if self.resting:
            self.resting -= 1
            return tokens[:0]
        most = min(most, MOST)
        for length in LENGTHS:
            if len(tokens) > length + 1 and most > 0:
                windows = np.lib.stride_tricks.sliding_window_view(tokens[:-1], length)
                found = np.flatnonzero((windows == tokens[-length:]).all(axis=1))
                if len(found):
                    after = int(found[-1]) + length
                    return tokens[after : after + most]
        return tokens[:0]

    def learn(self, accepted: int) -> None:
        """So many tokens of the last guess were right."""
        self.hope += 0.3 * (accepted - self.hope)
        if self.hope < WORTH:
            self.hope, self.resting = WORTH + 0.3, REST
