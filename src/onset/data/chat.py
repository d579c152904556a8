"""Conversations: read from JSON lines, told by a chat template, with what is an answer told apart from the rest.

A template is Jinja text, as the tokenizers of the transformers library carry it. What it adds when it is given one more
message of the assistant is that answer, the mark of its end included: so any template works that tells messages one
after another, with no need of marks for what is learnt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onset.errors import OnsetError
from onset.store.text import rows

if TYPE_CHECKING:
    from jinja2 import Template

Message = Mapping[str, str]

TEMPLATES: Mapping[str, str] = {
    "roles": (
        "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}Assistant:{% endif %}"
    ),
    "bare": "{% for message in messages %}{{ message['content'] }}{% endfor %}",
}
"""Templates that a source may name in place of the tokenizer's own."""

ROLES = ("system", "user", "assistant")


def conversations(path: Path | str, column: str) -> Iterator[list[dict[str, str]]]:
    """The conversations of a file or folder of JSON lines: each a list of messages with ``role`` and ``content``.

    Roles are system, user and assistant. Raises OnsetError, at its line, for one that is none.
    """
    for where, row in rows(path, column):
        yield [_message(message, where) for message in _messages(row, column, where)]


def segments(messages: Sequence[Message], template: str, end: str = "") -> list[tuple[str, bool]]:
    """The conversation as the template tells it, in pieces: the text, and whether it is an answer to be learnt.

    ``end`` is the token that ends a text, for templates that name it. Raises OnsetError for a conversation without an
    answer, and for a template that tells a message otherwise once another one follows.
    """
    compiled = _compiled(template)
    found: list[tuple[str, bool]] = []
    told = ""
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _told(compiled, messages[:place], end, asks=True)
        after = _told(compiled, messages[: place + 1], end, asks=False)
        if not (before.startswith(told) and after.startswith(before)):
            raise OnsetError(
                "the chat template tells a message otherwise once another one follows, so that answers cannot be "
                "told from the rest",
                where=f"the answer '{message['content'][:40]}'",
                advice="state template = 'roles' in the source, or use conversations of one question and one answer",
            )
        if before != told:
            found.append((before.removeprefix(told), False))
        found.append((after.removeprefix(before), True))
        told = after
    if not found:
        raise OnsetError("a conversation has no answer", advice="each needs a message of role 'assistant'")
    return found


def _told(template: Template, messages: Sequence[Message], end: str, *, asks: bool) -> str:
    from jinja2 import TemplateError

    try:
        return template.render(messages=messages, add_generation_prompt=asks, eos_token=end, bos_token=end)
    except TemplateError as error:
        roles = ", ".join(one["role"] for one in messages)
        raise OnsetError(f"the chat template refuses a conversation: {error}", where=f"roles {roles}") from error


@lru_cache(maxsize=8)
def _compiled(template: str) -> Template:
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.globals["raise_exception"] = _refuse
    try:
        return environment.from_string(template)
    except TemplateError as error:
        raise OnsetError(f"the chat template is no Jinja template: {error}", where="chat_template") from error


def _refuse(message: str) -> None:
    """What templates call for a conversation that they do not tell."""
    from jinja2 import TemplateError

    raise TemplateError(message)


def _messages(row: Any, column: str, where: str) -> Sequence[Any]:
    if not isinstance(row, list) or not row:
        raise OnsetError(f"column '{column}' holds no list of messages", where=where,
                         advice='write [{"role": "user", "content": "..."}, {"role": "assistant", ...}]')  # fmt: skip
    return row


def _message(message: Any, where: str) -> dict[str, str]:
    role, content = (message.get(name) if isinstance(message, dict) else None for name in ("role", "content"))
    if role not in ROLES or not isinstance(content, str):
        raise OnsetError("a message needs a role (system, user or assistant) and a content of text", where=where,
                         advice='write {"role": "user", "content": "..."}')  # fmt: skip
    return {"role": role, "content": content}
