"""Chat templates in the shapes of public model families, written for these tests.

``ending`` is what stands between the question's text and an answer; it ends where the answer begins.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A template and what is right with it.

    ``folded``: the system prompt has no place of its own. ``forgets``: earlier turns are dropped. ``differences``: what
    revision 2 renders otherwise, without a system prompt. ``error``: why it is refused.
    """

    template: str
    ending: str = ""
    folded: bool = False
    forgets: bool = False
    differences: tuple[str, ...] = ()
    error: str = ""


PARTS, PLACE, THOUGHT, DATED = (
    "messages are given as parts",
    "the answer stands where the template puts answers",
    "an opened thought is closed",
    "the date is fixed",
)

_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\nGENERATED{% endif %}"
)
_CHATML_END = "<|im_end|>\n<|im_start|>assistant\n"


def chatml(generated: str = "") -> str:
    """ChatML with more at the end of its generation prompt."""
    return _CHATML.replace("GENERATED", generated)


SHAPES: dict[str, Shape] = {
    "chatml": Shape(chatml(), _CHATML_END),
    "llama-2": Shape(
        "{% if messages[0]['role'] == 'system' %}{% set sys = messages[0]['content'] %}{% set rest = messages[1:] %}"
        "{% else %}{% set sys = false %}{% set rest = messages %}{% endif %}"
        "{% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must take turns') }}{% endif %}"
        "{% if loop.index0 == 0 and sys %}{% set text = '<<SYS>>\n' + sys + '\n<</SYS>>\n\n' + m['content'] %}"
        "{% else %}{% set text = m['content'] %}{% endif %}"
        "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
        " [/INST] ",
    ),
    "llama-3": Shape(
        "{% for m in messages %}{% set text = '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n'"
        " + m['content'] | trim + '<|eot_id|>' %}{% if loop.first %}{% set text = bos_token + text %}{% endif %}"
        "{{ text }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "llama-3.1": Shape(
        "{{ bos_token }}{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "{% if messages[0]['role'] == 'system' %}{% set sys = messages[0]['content'] | trim %}"
        "{% set messages = messages[1:] %}{% else %}{% set sys = '' %}{% endif %}"
        "<|start_header_id|>system<|end_header_id|>\n\nKnowledge until: December 2023\nToday: {{ date_string }}\n\n"
        "{{ sys }}<|eot_id|>{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
        "{{ m['content'] | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "qwen2.5": Shape(
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a made-up helper.<|im_end|>\n{% endif %}"
        + chatml(),
        _CHATML_END,
    ),
    "qwen3": Shape(
        "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
        "{% for m in messages %}{% if m.role == 'assistant' %}{% set text = m.content.split('</think>')[-1] %}"
        "<|im_start|>assistant\n{% if loop.index0 > ns.last %}<think>\n\n</think>\n\n{% endif %}"
        "{{ text.lstrip('\n') }}<|im_end|>\n{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
        _CHATML_END + "<think>\n\n</think>\n\n",
    ),
    "qwen3-thinking": Shape(
        "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.role == 'assistant' and loop.index0 > ns.last %}<think>\n\n</think>\n\n{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
        _CHATML_END + "<think>\n\n</think>\n\n",
        differences=(PLACE,),
    ),
    "qwq": Shape(chatml("<think>\n"), _CHATML_END + "<think>\n\n</think>\n\n", differences=(THOUGHT,)),
    "gemma": Shape(
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
        "{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        "<end_of_turn>\n<start_of_turn>model\n",
        folded=True,
    ),
    "gemma-3": Shape(
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% if messages[0]['content'] is string %}"
        "{% set before = messages[0]['content'] + '\n\n' %}{% else %}"
        "{% set before = messages[0]['content'][0]['text'] + '\n\n' %}{% endif %}{% set rest = messages[1:] %}"
        "{% else %}{% set before = '' %}{% set rest = messages %}{% endif %}"
        "{% for m in rest %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
        "{{ before if loop.first else '' }}{% if m['content'] is string %}{{ m['content'] | trim }}{% else %}"
        "{% for item in m['content'] %}{{ item['text'] | trim }}{% endfor %}{% endif %}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        "<end_of_turn>\n<start_of_turn>model\n",
    ),
    "gemma-4": Shape(
        "{{ bos_token }}{% for m in messages %}<|turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ m.content | trim }}<turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn>model\n"
        "{% if not enable_thinking | default(false) %}<|channel>thought\n<channel|>{% endif %}{% endif %}",
        "<turn|>\n<|turn>model\n<|channel>thought\n<channel|>",
    ),
    "mistral-0.1": Shape(
        "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('user and assistant must take turns') }}{% endif %}"
        "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
        "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}",
        " [/INST]",
        folded=True,
    ),
    "mistral-0.3": Shape(
        "{% if messages[0]['role'] == 'system' %}{% set sys = messages[0]['content'] %}{% set rest = messages[1:] %}"
        "{% else %}{% set rest = messages %}{% endif %}{{ bos_token }}{% for m in rest %}"
        "{% if m['role'] == 'user' %}{% if loop.last and sys is defined %}"
        "{{ '[INST] ' + sys + '\n\n' + m['content'] + '[/INST]' }}{% else %}{{ '[INST] ' + m['content'] + '[/INST]' }}"
        "{% endif %}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}",
        # With an answer behind it the question is no longer the last message, and loses the system prompt.
        "[/INST] ",
    ),
    "mistral-small": Shape(
        "{% set today = strftime_now('%Y-%m-%d') %}{{ bos_token }}"
        "{% if messages[0]['role'] != 'system' %}[SYSTEM_PROMPT]Today is {{ today }}.[/SYSTEM_PROMPT]{% endif %}"
        "{% for m in messages %}{% if m['role'] == 'user' %}[INST]{{ m['content'] }}[/INST]"
        "{% elif m['role'] == 'system' %}[SYSTEM_PROMPT]{{ m['content'] }}[/SYSTEM_PROMPT]"
        "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}",
        "[/INST]",
        differences=(DATED,),
    ),
    "magistral": Shape(
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST]{{ m['content'] }}[/INST]"
        "{% elif m['role'] == 'system' %}[SYSTEM_PROMPT]{{ m['content'] }}[/SYSTEM_PROMPT]"
        "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}[THINK]{% endif %}",
        "[/INST][THINK][/THINK]",
        differences=(THOUGHT,),
    ),
    "phi-3": Shape(
        "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
        "<|end|>\n<|assistant|>\n",
    ),
    "phi-4": Shape(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}<|im_sep|>{{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}",
        "<|im_end|><|im_start|>assistant<|im_sep|>",
    ),
    "deepseek-v2": Shape(
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ 'User: ' + m['content'] + '\n\n' }}"
        "{% elif m['role'] == 'assistant' %}{{ 'Assistant: ' + m['content'] + eos_token }}"
        "{% else %}{{ m['content'] + '\n\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
        "\n\nAssistant: ",
    ),
    "deepseek-r1": Shape(
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}{% endif %}{% endfor %}"
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<User>' + m['content'] }}"
        "{% elif m['role'] == 'assistant' %}{{ '<Assistant>' + m['content'].split('</think>')[-1] + eos_token }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<Assistant><think>\n' }}{% endif %}",
        "<Assistant><think>\n\n</think>\n\n",
        differences=(THOUGHT,),
    ),
    "deepseek-v3.1": Shape(
        "{% if not thinking is defined %}{% set thinking = true %}{% endif %}{{ bos_token }}"
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<User>' + m['content'] }}"
        "{% elif m['role'] == 'assistant' %}{{ '<Assistant></think>' + m['content'] + eos_token }}"
        "{% else %}{{ m['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<Assistant><think>' if thinking else '<Assistant></think>' }}{% endif %}",
        "<Assistant></think>",
        differences=(PLACE,),
    ),
    "kimi": Shape(
        "{% for m in messages %}<|im_{{ m['role'] }}|>{{ m['role'] }}<|im_middle|>"
        "{% if m['role'] == 'assistant' %}<think></think>{% endif %}{{ m['content'] }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_assistant|>assistant<|im_middle|>"
        "{% if thinking is defined and thinking is false %}<think></think>{% else %}<think>{% endif %}{% endif %}",
        "<|im_end|><|im_assistant|>assistant<|im_middle|><think></think>",
        differences=(PLACE,),
    ),
    "gpt-oss": Shape(
        "<|start|>system<|message|>You are a made-up model.\nCurrent date: {{ strftime_now('%Y-%m-%d') }}\n\n"
        "# Valid channels: analysis, commentary, final.<|end|>"
        "{% for m in messages %}{% if m.role == 'system' %}"
        "<|start|>developer<|message|># Instructions\n\n{{ m.content }}\n\n<|end|>"
        "{% elif m.role == 'user' %}<|start|>user<|message|>{{ m.content }}<|end|>"
        "{% else %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
        "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
        differences=(DATED, PLACE),
    ),
    "analysis-first": Shape(
        "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant<|channel|>analysis<|message|>{% endif %}",
        "<|end|><|start|>assistant<|message|>",
        differences=(PLACE,),
    ),
    "granite": Shape(
        "{% if messages[0]['role'] == 'system' %}{% set sys = messages[0]['content'] %}"
        "{% set rest = messages[1:] %}{% else %}{% set sys = 'Today is ' + strftime_now('%B %d, %Y') + '.' %}"
        "{% set rest = messages %}{% endif %}"
        "{{ '<|start_of_role|>system<|end_of_role|>' + sys + '<|end_of_text|>\n' }}{% for m in rest %}"
        "{{ '<|start_of_role|>' + m['role'] + '<|end_of_role|>' + m['content'] + '<|end_of_text|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}",
        "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        differences=(DATED,),
    ),
    "smolvlm": Shape(
        "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}"
        "{% if m['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}"
        "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image>{% endif %}"
        "{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}",
        "<end_of_utterance>\nAssistant: ",
        differences=(PARTS,),
    ),
    "user-in-parts": Shape(
        "{% for m in messages %}{{ '[' + m['role'] + ']' }}{% if m['role'] == 'user' %}"
        "{% for part in m['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
        "{% else %}{{ m['content'].strip() }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}",
        "[assistant]",
        differences=(PARTS,),
    ),
    "smollm3": Shape(
        "<|im_start|>system\nToday Date: {{ strftime_now('%d %B %Y') }}\nMode: "
        "{{ 'think' if enable_thinking else 'no think' }}\n\n"
        "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}<|im_end|>\n"
        "{% for m in messages %}{% if m.role == 'user' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n"
        "{% elif m.role == 'assistant' %}{% generation %}<|im_start|>assistant\n<think>\n\n</think>\n"
        "{{ m.content.lstrip('\n') }}<|im_end|>\n{% endgeneration %}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if not enable_thinking %}<think>\n\n</think>\n{% endif %}{% endif %}",
        _CHATML_END + "<think>\n\n</think>\n",
        differences=(DATED,),
    ),
    "command": Shape(
        "{{ bos_token }}{% for m in messages %}<|START_OF_TURN_TOKEN|>"
        "<|{{ 'CHATBOT' if m.role == 'assistant' else m.role | upper }}_TOKEN|>"
        "{% if m.role == 'assistant' %}<|START_RESPONSE|>{{ m.content }}<|END_RESPONSE|>{% else %}{{ m.content }}"
        "{% endif %}<|END_OF_TURN_TOKEN|>{% endfor %}{% if add_generation_prompt %}"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_THINKING|>{% endif %}",
        "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>",
        differences=(PLACE,),
    ),
    "zephyr": Shape(
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}"
        "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}{% endfor %}",
        "</s>\n<|assistant|>\n",
    ),
    "user-and-assistant-only": Shape(
        "{% for m in messages %}{% if m.role == 'user' %}{{ 'User: ' + m.content | trim + '\nBot:' }}"
        "{% elif m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token + '\n' }}{% endif %}{% endfor %}",
        "\nBot: ",
        folded=True,
    ),
    "no-generation-prompt": Shape(
        "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}",
        "\nassistant: ",
        differences=(PLACE,),
    ),
    "hurried": Shape(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content[:12] }}{% endfor %}<|assistant|>",
        error="does not keep the text",
    ),
    "last-only": Shape(
        "{{ '<|user|>' + messages[-1].content + '<|assistant|>' }}", "<|assistant|>", folded=True, forgets=True
    ),
    "twice": Shape(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ m.content }}{% endfor %}<|assistant|>",
        error="writes the question 2 times",
    ),
    "silent": Shape("<|user|><|assistant|>", error="drops the question"),
    "broken": Shape("{% for m in messages %}{{ m.content }}", error="cannot be read"),
    "at-random": Shape(
        "{% for m in messages %}{{ ['Q', 'Question'] | random }}: {{ m.content }}{% endfor %}", error="random"
    ),
    "escaped": Shape(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content | tojson }}{% endfor %}<|assistant|>",
        error="does not keep the text",
    ),
    "thinking-channel-only": Shape(
        "{% for m in messages if m.role != 'assistant' %}<|start|>{{ m.role }}<|message|>{{ m.content }}{% endfor %}"
        "<|start|>assistant<|channel|>analysis<|message|>",
        error="begins each answer with a thought",
    ),
}
