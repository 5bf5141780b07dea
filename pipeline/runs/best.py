"""The best weights of a training by its scores: part of its state, so that a kill loses nothing."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from torch import Tensor

S = TypeVar("S")


class BestWeights(Generic[S]):
    """The weights with the lowest value so far, and the scores that were made last.

    Args:
        value: From scores to the number that is least for the best weights; NaN is never the best.
        pack: From scores to what a checkpoint can hold.
        unpack: The reverse.

    """

    def __init__(
        self,
        value: Callable[[S], float],
        pack: Callable[[S], dict[str, Any]],
        unpack: Callable[[dict[str, Any]], S],
    ) -> None:
        self._value, self._pack, self._unpack = value, pack, unpack
        self.at: int | None = None
        """The epoch or step of the best weights; None before the first scores."""
        self.scores: S | None = None
        """Scores of the best weights."""
        self.latest: S | None = None
        """The scores that were made last."""
        self.weights: dict[str, Tensor] = {}

    def update(self, at: int, scores: S, weights: Mapping[str, Tensor]) -> None:
        """Record the scores of an epoch or step; keep its weights if they are the best so far."""
        self.latest = scores
        if self.scores is None or self._less(scores, self.scores):
            self.at, self.scores = at, scores
            self.weights = {key: value.detach().clone() for key, value in weights.items()}

    def _less(self, scores: S, than: S) -> bool:
        new, old = self._value(scores), self._value(than)
        return new < old or (math.isnan(old) and not math.isnan(new))

    def state_dict(self) -> dict[str, Any]:
        """The whole state, for a checkpoint."""
        scores = [None if one is None else self._pack(one) for one in (self.scores, self.latest)]
        return {"at": self.at, "scores": scores, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.at, self.weights = state_dict["at"], state_dict["weights"]
        self.scores, self.latest = (
            None if one is None else self._unpack(one) for one in state_dict["scores"]
        )
