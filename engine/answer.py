"""Answer: what a client sees of the tokens of one request."""

from ktd.engine.detokenizer import Detokenizer
from ktd.engine.messages import Prompt
from ktd.engine.stops import StopFilter
from ktd.engine.tokenizer import Tokenizer


class Answer:
    """Text as it becomes certain, up to the model's end or a stop. `tokens` counts all, the last one too."""

    def __init__(self, tokenizer: Tokenizer, prompt: Prompt) -> None:
        special = {text: tokenizer.special(text) for text in (*prompt.stops, *prompt.markers)}
        self._ends = tokenizer.ends | {special[text] for text in prompt.stops}
        markers = frozenset(token for text in prompt.markers if (token := special[text]) is not None)
        self._detokenizer = Detokenizer(tokenizer, markers)
        self._stops = StopFilter(prompt.stops)
        self.tokens = 0
        self.ended = False

    @property
    def stopped(self) -> bool:
        """The model ended it, or a stop did."""
        return self.ended or self._stops.stopped

    def push(self, token: int) -> str:
        self.tokens += 1
        if token in self._ends:
            self.ended = True
            return ""
        return self._stops.push(self._detokenizer.push(token))

    def finish(self) -> str:
        """What was held back and is now certain."""
        return self._stops.push(self._detokenizer.finish()) + self._stops.finish()
