"""Harmony, as gpt-oss writes it: an answer is several messages, each with a header that names its channel.

<|channel|>analysis<|message|>a thought<|end|><|start|>assistant<|channel|>final<|message|>the answer
<|channel|>commentary to=functions.name <|constrain|>json<|message|>{"argument": 1}<|call|>
"""

from ktd.daemon.chat.format import Script

START, CHANNEL, MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
END, CALL, RETURN, CONSTRAIN = "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"

MARKS = (START, CHANNEL, MESSAGE)
TAGS = (START, CHANNEL, MESSAGE, END, CALL, RETURN, CONSTRAIN)

ANALYSIS = f"{CHANNEL}analysis{MESSAGE}"
FINAL = f"{CHANNEL}final{MESSAGE}"
NEXT = f"{START}assistant"
UNTHOUGHT = f"{NEXT}{ANALYSIS}{END}{NEXT}"  # behind an empty thought, none comes

SCRIPT = Script(head=f"{CHANNEL}commentary to=functions.", middle=f" {CONSTRAIN}json{MESSAGE}", tail="")
