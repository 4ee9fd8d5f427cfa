"""The trained demo model, skill by skill, through the whole engine and with its own evaluator.

100 on 20 items of each skill is what it reached elsewhere (packaging/demo/train/README.md). Text forgives much that
logits do not, so this is a test of the engine's text path; its arithmetic is compared with transformers elsewhere.
"""

from collections import Counter
from pathlib import Path

import demo
import pytest
from answers import Desk, Heard

from ktd.engine.jobs import Jobs
from ktd.engine.loader import open_model
from ktd.engine.messages import Load, Prompt, Sampling

ITEMS = 20  # of each skill
SEED = 20261122  # the evaluator's own
AT_ONCE = 16
SAMPLING = Sampling(temperature=0.0, max_tokens=320)
MARKERS = tuple(token for token in demo.script("gen").TAIL_SPECIALS)


@pytest.mark.parametrize("path", [demo.F16, demo.Q8_0], ids=["f16", "q8_0"])
def test_every_skill_is_perfect(path: Path) -> None:
    gen = demo.script("gen")
    desk = Desk(Jobs(open_model(Load((str(path),)), lambda done, total: None)[0]))
    items = gen.eval_set(ITEMS, SEED)
    right: Counter[str] = Counter()
    missed = []
    for item, heard in zip(items, answers(desk, [item["prompt"] for item in items]), strict=True):
        good = gen.check(item, heard.text, heard.done.reason == "stop")
        right[item["skill"]] += good
        if not good:
            missed.append((item["id"], item["mode"], item["user"][-80:], item["ans"][:80], heard.text[-160:]))
    assert not missed, missed
    assert sum(right.values()) == ITEMS * len(gen.EVAL_SKILLS)


def answers(desk: Desk, prompts: list[str]) -> list[Heard]:
    """All of them, `AT_ONCE` together."""
    heard: list[Heard] = []
    for prompt in prompts:
        while sum(each.end is None for each in heard) == AT_ONCE:
            desk.step()
        heard.append(desk.add(Prompt(prompt, markers=MARKERS), SAMPLING))
    desk.drain()
    return heard
