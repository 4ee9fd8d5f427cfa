"""Answer: what a client sees of the tokens of one request."""

import numpy as np
from numpy.typing import NDArray

from ktd.engine.detokenizer import Detokenizer
from ktd.engine.likelihoods import Likelihoods
from ktd.engine.messages import Prompt, TokenLogprob
from ktd.engine.stops import StopFilter
from ktd.engine.tokenizer import Tokenizer


class Answer:
    """Text as it becomes certain, up to the model's end or a stop. `tokens` counts all, the last one too.

    `logprobs` is how many of the best tokens are told at each place; None tells no log-probabilities.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Prompt, logprobs: int | None = None) -> None:
        special = {text: tokenizer.special(text) for text in (*prompt.stops, *prompt.markers)}
        self._stop_tokens = {special[text]: text for text in prompt.stops if special[text] is not None}
        self._ends = tokenizer.ends | self._stop_tokens.keys()
        markers = frozenset(token for text in prompt.markers if (token := special[text]) is not None)
        self._detokenizer = Detokenizer(tokenizer, markers)
        self._stops = StopFilter(prompt.stops)
        self._likelihoods = None if logprobs is None else Likelihoods(tokenizer, logprobs)
        self._stop_token: str | None = None
        self.tokens = 0
        self.ended = False

    @property
    def stopped(self) -> bool:
        """The model ended it, or a stop did."""
        return self.ended or self._stops.stopped

    @property
    def stop(self) -> str | None:
        """The stop of the prompt that ended it, if one did."""
        return self._stops.found or self._stop_token

    def push(self, token: int, logits: NDArray[np.float32]) -> str:
        """The text that became certain with a token chosen from logits [vocab]."""
        self.tokens += 1
        if token in self._ends:
            self.ended = True
            self._stop_token = self._stop_tokens.get(token)
            return ""
        if self._likelihoods is not None:
            self._likelihoods.add(logits, token, len(self._detokenizer.piece(token)))
        return self._stops.push(self._detokenizer.push(token))

    def finish(self) -> str:
        """What was held back and is now certain."""
        return self._stops.push(self._detokenizer.finish()) + self._stops.finish()

    def logprobs(self, text: str, last: bool) -> tuple[TokenLogprob, ...]:
        """What is told with this text, where asked for; call it once for each text that is sent."""
        if self._likelihoods is None:
            return ()
        return self._likelihoods.finish(text, self._stops.stopped) if last else self._likelihoods.tell(text)
