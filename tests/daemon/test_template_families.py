"""Templates with the constructs of each family render as transformers renders them."""

import copy
import json
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from ktd.daemon.chat.chat import Chat, Message, Terms, ToolCall
from ktd.daemon.chat.formats import harmony
from ktd.daemon.chat.framing import Framing
from ktd.daemon.chat.prompt import Framed, framed
from ktd.daemon.chat.renderer import Renderer
from ktd.daemon.chat.style import Style
from ktd.daemon.chat.template import render
from ktd.daemon.chat.variables import variables
from ktd.daemon.errors import TemplateFailed

DEEPSEEK = """{{ bos_token }}{% set ns = namespace(is_tool=false, is_first=true) %}
{%- for m in messages %}{%- if m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}{%- endif %}
{%- if m['role'] == 'assistant' and m['content'] is none %}{%- for c in m['tool_calls'] %}
{%- if ns.is_first %}{{ '<｜Assistant｜><｜tool▁calls▁begin｜>' }}{%- set ns.is_first = false -%}{%- endif %}
{{- '<｜tool▁call▁begin｜>' + c['type'] + '<｜tool▁sep｜>' + c['function']['name'] + '\\n```json\\n' }}
{{- c['function']['arguments'] + '\\n```<｜tool▁call▁end｜>' }}{%- endfor %}{%- endif %}
{%- if m['role'] == 'assistant' and m['content'] is not none %}{% set content = m['content'] %}
{%- if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}
{{- '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}{%- endif %}
{%- if m['role'] == 'tool' %}{%- set ns.is_tool = true -%}{{ '<｜tool▁output▁begin｜>' + m['content'] }}{%- endif %}
{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"""

QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n<tools>' }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools> <tool_call>{\\"name\\": , \\"arguments\\": }</tool_call><|im_end|>\\n" }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string %}
        {%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}{%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in message.content %}
            {%- set reasoning = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > ns.last_query_index and reasoning %}{{- '<think>\\n' + reasoning + '\\n</think>\\n\\n' }}
        {%- endif %}{{- message.content }}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '<tool_call>\\n{"name": "' + tool_call.name + '", "arguments": ' }}
            {%- if tool_call.arguments is string %}{{- tool_call.arguments }}
            {%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- else %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""

LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system_message = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date_string + "\\n\\n" + system_message }}
{%- for t in tools or [] %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("one call at a time") }}{%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}{{- "}" }}{{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}
        {%- else %}{{- message.content }}{%- endif %}{{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""

MISTRAL = """{{ bos_token }}
{%- set loop_messages = messages[1:] if messages[0]["role"] == "system" else messages %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and tools is defined and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS][" }}
            {%- for tool in tools %}{%- set tool = tool.function %}{{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}
                    {%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}{{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}{{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}{{- "[INST]" + message["content"] + "[/INST]" }}
    {%- elif (message.tool_calls is defined and message.tool_calls is not none) %}
        {{- "[TOOL_CALLS][" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}{{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS]{"content": ' + message.content|string + ', "call_id": "' + message.tool_call_id + '"}' }}
    {%- else %}{{- raise_exception("Only user and assistant roles are supported") }}{%- endif %}
{%- endfor %}"""

GLM = """[gMASK]<sop>{%- for tool in tools or [] %}{{ tool | tojson(ensure_ascii=False) }}{%- endfor -%}
{%- macro visible_text(content) -%}{%- if content is string -%}{{- content }}{%- else -%}{{- content }}{%- endif -%}
{%- endmacro -%}
{%- for m in messages -%}
{%- if m.role == 'user' -%}<|user|>
{{ visible_text(m.content) }}{{- '/nothink' if (enable_thinking is defined and not enable_thinking) else '' -}}
{%- elif m.role == 'assistant' -%}<|assistant|>
{%- if m.content.strip() -%}{{ '\\n' + m.content.strip() }}{%- endif -%}
{% if m.tool_calls %}{% for tc in m.tool_calls %}{%- if tc.function %}{%- set tc = tc.function %}{%- endif %}
{{ '\\n<tool_call>' + tc.name }}
{% set _args = tc.arguments %}{% for k, v in _args.items() %}
<arg_key>{{ k }}</arg_key>
<arg_value>{{ v | tojson(ensure_ascii=False) if v is not string else v }}</arg_value>
{% endfor %}</tool_call>{% endfor %}{% endif %}
{%- elif m.role == 'tool' -%}{%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
{{- '<|observation|>' }}{%- endif %}{{- '\\n<tool_response>\\n' }}{{- m.content }}{{- '\\n</tool_response>' }}
{%- elif m.role == 'system' -%}<|system|>
{{ visible_text(m.content) }}{%- endif -%}{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>
{{- '\\n<think></think>' if (enable_thinking is defined and not enable_thinking) else '' -}}{%- endif -%}"""

KIMI = """{% for message in messages %}
  {%- set role_name = message.get('name') or message['role'] -%}
  {%- if message['role'] == 'assistant' and message.get('tool_calls') -%}
    <|im_assistant|>{{role_name}}<|im_middle|>{{ message['content'] }}<|tool_calls_section_begin|>
    {%- for tool_call in message['tool_calls'] -%}
      <|tool_call_begin|>{{ tool_call['id'] }}<|tool_call_argument_begin|>
      {%- if tool_call['function']['arguments'] is string -%}{{ tool_call['function']['arguments'] }}
      {%- else -%}{{ tool_call['function']['arguments'] | tojson }}{%- endif -%}<|tool_call_end|>
    {%- endfor -%}<|tool_calls_section_end|>
  {%- elif message['role'] == 'tool' -%}
    <|im_system|>tool<|im_middle|>## Return of {{ message.tool_call_id }}\n{{ message['content'] }}
  {%- else -%}<|im_{{ message['role'] }}|>{{role_name}}<|im_middle|>{{ message['content'] }}{%- endif -%}<|im_end|>
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_assistant|>assistant<|im_middle|>{%- endif -%}"""

HARMONY = """{%- macro render_type(spec) -%}
{%- if spec.type == "array" -%}{{- render_type(spec['items']) + "[]" -}}
{%- elif spec.type is iterable and spec.type is not string -%}{{- spec.type | join(" | ") -}}
{%- else -%}{{- {"integer": "number"}.get(spec.type, spec.type or "any") -}}{%- endif -%}{%- endmacro -%}
{%- if reasoning_effort is not defined %}{%- set reasoning_effort = "medium" %}{%- endif %}
{{- "<|start|>system<|message|>Reasoning: " + reasoning_effort + "<|end|>" }}
{%- if messages[0].role == "developer" or messages[0].role == "system" %}
    {%- set developer_message = messages[0].content %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set developer_message = "" %}{%- set loop_messages = messages %}{%- endif %}
{%- if developer_message or tools %}{{- "<|start|>developer<|message|>" + developer_message }}
    {%- for tool in tools or [] %}{%- set tool = tool.function %}{{- "type " + tool.name + " = (_: {" }}
        {%- for name, spec in tool.parameters.properties.items() %}{{- name + ": " + render_type(spec) }}
            {%- if not loop.last %}{{- ", " }}{%- endif %}{%- endfor %}{{- "}) => any;" }}{%- endfor %}{{- "<|end|>" }}
{%- endif %}
{%- set last_tool_call = namespace(name=none) %}
{%- for message in loop_messages -%}
    {%- if message.role == 'assistant' -%}
        {%- if "tool_calls" in message %}
            {%- if message.content and message.thinking %}{{- raise_exception("not both content and thinking") }}
            {%- elif message.thinking %}{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking }}
            {{- "<|end|>" }}{%- endif %}
            {%- set tool_call = message.tool_calls[0].function %}
            {{- "<|start|>assistant to=functions." + tool_call.name + "<|channel|>commentary json<|message|>" }}
            {{- tool_call.arguments|tojson }}{{- "<|call|>" }}{%- set last_tool_call.name = tool_call.name %}
        {%- else %}{{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}{%- endif %}
    {%- elif message.role == 'tool' -%}
        {%- if last_tool_call.name is none %}{{- raise_exception("no call") }}{%- endif %}
        {{- "<|start|>functions." + last_tool_call.name + " to=assistant<|channel|>commentary<|message|>" }}
        {{- message.content|tojson + "<|end|>" }}
    {%- elif message.role == 'user' -%}{{- "<|start|>user<|message|>" + message.content + "<|end|>" }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}"""

GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}
{%- endif %}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate') }}{% endif %}
{{- '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' + m['content'] | trim }}
{{- '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

GENERATION = """{%- for m in messages -%}{%- if loop.index > 9 %}{% break %}{% endif -%}
{%- if m.role == 'assistant' -%}{% generation %}{% set said = m.content %}{{ said }}{% endgeneration %}{{ said }}
{%- else -%}{% set d = dict(a=1) %}{{ d.a }}{{ m.content }}{%- endif -%}{%- endfor -%}"""

TEMPLATES = {"deepseek": DEEPSEEK, "qwen": QWEN, "llama": LLAMA, "mistral": MISTRAL, "glm": GLM, "kimi": KIMI,
             "harmony": HARMONY, "generation": GENERATION}  # fmt: skip

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells <the> weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": ["integer", "null"]}, "at": {"type": "array",
                           "items": {"type": "number"}}},
            "required": ["city"],
        },
    },
}  # fmt: skip
CALL = ToolCall("weather", {"city": "Tromsø <&'\">", "days": 2, "at": [1.5]}, "call_abcdefgh")
USER = Message("user", 'Wie wird\'s?\n"<&é中" ')
CALLED = Message("assistant", thinking="needed", calls=(CALL,))
RESULT = Message("tool", '{"t": -3}', tool_name="weather", tool_call_id="call_abcdefgh")
SAID = Message("assistant", "<think>\ncold\n</think>\n\nCold.")
CHATS = {
    "plain": Chat((Message("system", " Be kind. "), USER, SAID, USER)),
    "a call": Chat((USER, CALLED, RESULT), (WEATHER,)),
    "after a call": Chat((USER, CALLED, RESULT, SAID, USER), (WEATHER,)),
    "thinking": Chat((USER,), think=True, effort="low"),
    "no thinking": Chat((USER,), think=False),
}


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_render_as_transformers_renders_them(name: str, chat: str) -> None:
    template = TEMPLATES[name]
    given = variables(CHATS[chat], Framing(template, "<bos>", "<eos>"), Style.of(template))
    assert render(template, copy.deepcopy(given)) == in_transformers(template, given, as_text=name == "deepseek")


def in_transformers(template: str, given: dict[str, Any], *, as_text: bool) -> str:
    """`as_text`: DeepSeek's templates want the arguments of calls as JSON text."""
    left = copy.deepcopy(given)
    for message in left["messages"]:
        for call in message.get("tool_calls", ()):
            function = call["function"]
            function["arguments"] = (
                json.dumps(function["arguments"], ensure_ascii=False) if as_text else function["arguments"]
            )
    (text,), _ = render_jinja_template(
        [left.pop("messages")],
        tools=left.pop("tools", None),
        chat_template=template,
        add_generation_prompt=left.pop("add_generation_prompt"),
        **left,
    )
    assert isinstance(text, str)
    return text


@pytest.fixture
async def renderer() -> Any:
    renderer = Renderer()
    yield renderer
    await renderer.close()


async def frame(
    template: str, renderer: Renderer, *messages: Message, schema: str | None = None, **chat: Any
) -> Framed:
    framing = Framing(template, "<bos>", "<eos>")
    return await framed(Chat(messages, **chat), framing, Terms(schema=schema), renderer)


async def test_the_user_says_what_a_refused_system_message_says(renderer: Renderer) -> None:
    found = await frame(GEMMA, renderer, Message("system", "Be kind."), Message("user", "Hi"))
    assert found.prompt.text == "<bos><start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\n"
    with pytest.raises(TemplateFailed, match="must alternate"):
        await frame(GEMMA, renderer, Message("user", "Hi"), Message("user", "Hi"))


ROLES = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"


async def test_developers_are_the_system_where_a_template_lacks_them(renderer: Renderer) -> None:
    told = Message("developer", "Be kind.")
    assert (await frame(ROLES, renderer, told, USER)).prompt.text.startswith("[system]Be kind.")
    knows = ROLES + "{# developer #}"
    assert (await frame(knows, renderer, told, USER)).prompt.text.startswith("[developer]Be kind.")


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "f"}},
        {"function": {"name": "f", "description": None, "parameters": None}},
        {"name": "f", "type": "function"},
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}},
    ],
)
async def test_tools_have_what_templates_rely_on(renderer: Renderer, tool: Any) -> None:
    template = "{% for t in tools %}{{ t.type }} {{ t.function.name + t.function.description }}" \
               "{{ t.function.parameters.properties | length }}{% endfor %}"  # fmt: skip
    assert (await frame(template, renderer, USER, tools=(tool,))).prompt.text == "function f0"


async def test_ids_are_those_that_models_have_learnt(renderer: Renderer) -> None:
    twice = (CALLED, RESULT, Message("assistant", calls=(CALL,)), Message("tool", "4"))
    text = (await frame(KIMI, renderer, USER, *twice, tools=(WEATHER,))).prompt.text
    assert [part.split("<")[0].split("\n")[0] for part in text.split("functions.")[1:]] == ["weather:0"] * 2 + [
        "weather:1"
    ] * 2
    text = (await frame(MISTRAL, renderer, USER, CALLED, RESULT, tools=(WEATHER,))).prompt.text
    assert text.count("000000000") == 2


@pytest.mark.parametrize(
    ("template", "ending"),
    [
        (DEEPSEEK, "<｜Assistant｜><think>\n\n</think>\n\n"),
        (DEEPSEEK.replace("<think>\\n", ""), "<｜Assistant｜><think>\n\n</think>\n\n"),
        (QWEN, "<|im_start|>assistant\n<think>\n\n</think>\n\n"),
        (HARMONY, harmony.UNTHOUGHT),
        (LLAMA, "assistant<|end_header_id|>\n\n"),
    ],
)
async def test_no_thought_where_there_shall_be_none(renderer: Renderer, template: str, ending: str) -> None:
    assert (await frame(template, renderer, USER, think=False)).prompt.text.endswith(ending)


async def test_harmony_keeps_its_channels_when_constrained(renderer: Renderer) -> None:
    free = await frame(HARMONY, renderer, USER, schema="{}")
    assert free.prompt.text.endswith(harmony.NEXT + harmony.ANALYSIS)
    grammar = free.prompt.grammar
    assert grammar and (grammar.before, grammar.closing) == (harmony.NEXT + harmony.FINAL, harmony.END)
    at_once = (await frame(HARMONY, renderer, USER, schema="{}", think=False)).prompt.grammar
    assert at_once and (at_once.before, at_once.closing) == (harmony.FINAL, "")
    forced = (await frame(HARMONY, renderer, USER, tools=(WEATHER,), forced=("weather",))).prompt.grammar
    assert forced and forced.documents[0].before == (
        "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>"
    )
    begun = await frame(HARMONY, renderer, USER, Message("assistant", "It is"))
    assert begun.prompt.text.endswith("<|channel|>final<|message|>It is")
    assert [piece.content for piece in begun.splitter.feed(" so.")] == [" so."]


async def test_harmony_refuses_no_answer_of_its_own(renderer: Renderer) -> None:
    both = Message("assistant", "I look.", "needed", (CALL,))
    text = (await frame(HARMONY, renderer, USER, both, RESULT, tools=(WEATHER,))).prompt.text
    assert "<|channel|>analysis<|message|>needed\nI look.<|end|>" in text
    assert "Reasoning: high" in (await frame(HARMONY, renderer, USER, think=True, effort="max")).prompt.text
