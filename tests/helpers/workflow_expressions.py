"""Evaluates the expressions of GitHub's workflows, `${{ ... }}`, as far as they are used here.

Source: docs.github.com, "Evaluate expressions in workflows and actions". What is unknown fails,
where GitHub would go on with an empty string; only an event may lack a property.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
TOKEN = re.compile(r"\s*('(?:[^']|'')*'|&&|\|\||==|!=|!|always\(\)|[\w-]+(?:\.[\w-]+)*)")

STATUS_FUNCTION = "always()"


def resolved(text: object, contexts: Mapping[str, Any]) -> str:
    """The text with the values of its expressions."""
    return EXPRESSION.sub(lambda found: as_text(evaluate(found[1], contexts)), as_text(text))


def is_true(condition: str, contexts: Mapping[str, Any]) -> bool:
    """Whether an `if` holds, written with or without `${{ }}`."""
    whole = EXPRESSION.fullmatch(condition)
    return evaluate(whole[1] if whole else condition, contexts) not in ("", None, False)


def evaluate(expression: str, contexts: Mapping[str, Any]) -> Any:
    """Without parentheses: `||` binds weakest, then `&&`, then comparisons, then `!`."""
    tokens = _tokens(expression)
    for operator in ("||", "&&", "==", "!="):
        if operator in tokens:
            place = tokens.index(operator)
            left = evaluate(" ".join(tokens[:place]), contexts)
            if operator == "||" and left:
                return left
            if operator == "&&" and not left:
                return left
            right = evaluate(" ".join(tokens[place + 1 :]), contexts)
            if operator in ("||", "&&"):
                return right
            return (as_text(left) == as_text(right)) is (operator == "==")
    if tokens[0] == "!":
        return not evaluate(" ".join(tokens[1:]), contexts)
    (token,) = tokens
    if token == STATUS_FUNCTION:
        return True
    return token[1:-1].replace("''", "'") if token.startswith("'") else _property(token, contexts)


def as_text(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tokens(expression: str) -> list[str]:
    tokens: list[str] = []
    place = 0
    while place < len(expression.rstrip()):
        found = TOKEN.match(expression, place)
        assert found, f"cannot be evaluated here: {expression}"
        tokens.append(found[1])
        place = found.end()
    assert tokens, "empty expression"
    return tokens


def _property(path: str, contexts: Mapping[str, Any]) -> Any:
    value: Any = contexts
    may_lack = path.startswith("github.event.")
    for number, name in enumerate(path.split(".")):
        if may_lack and number >= 2:
            value = (value or {}).get(name)
        else:
            assert name in value, f"unknown: {path}"
            value = value[name]
    return value
