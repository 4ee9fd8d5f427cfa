"""How the states of a text become one vector: a key of GGUF."""

from ktd.engine.errors import LoadRefused
from ktd.engine.models.keys import Keys
from ktd.engine.spec import Pooling

_BY_NUMBER: dict[int, Pooling] = {1: "mean", 2: "cls", 3: "last"}
UNSAID, RANK = 0, 4


def pooling(keys: Keys, default: Pooling) -> Pooling:
    """Raises LoadRefused."""
    number = keys.count("pooling_type", UNSAID, least=0)
    if number == RANK:
        raise LoadRefused("unsupported", "models that rank texts (pooling_type 4) are not supported")
    if number not in (UNSAID, *_BY_NUMBER):
        raise keys.refuse("pooling_type", f"{number} is unknown")
    return _BY_NUMBER.get(number, default)
