"""The expressions of GitHub's workflows, as far as ours use them: `${{ a.b == 'c' && !failure() }}`.

What cannot be known beforehand is UNKNOWN; an expression that depends on it is UNKNOWN too, so that
FALSE means never. Another word than those below is an error: it is better to refuse than to guess.
"""

import ast
import functools
import json
import re
from typing import Any, Callable

TOKEN = re.compile(
    r"(?P<text>'(?:[^']|'')*')|\.(?P<member>[A-Za-z_][\w-]*)|(?P<word>\w[\w-]*|&&|\|\||[=!]=|!)"
    r"|(?P<other>[^\s.(),\[\]])"
)
# In Python; `~` binds as strongly as GitHub's `!`, and `not` does not.
WORDS = {"true": "True", "false": "False", "null": "None", "&&": " and ", "||": " or ", "!": "~"}
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
STATUS = ("always", "cancelled", "failure", "success")


class Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


class ExpressionError(Exception):
    """An expression that is invalid, or uses an unsupported feature."""


def fill(text: str, context: dict) -> Any:
    """A value of a workflow with its expressions worked out; one that is all expression keeps its kind."""
    alone = only(text)
    if alone:
        return evaluate(alone, context)
    parts = EXPRESSION.split(text)
    values = [evaluate(part, context) if index % 2 else part for index, part in enumerate(parts)]
    return UNKNOWN if UNKNOWN in values else "".join(written(value) for value in values)


def condition(text: str, context: dict) -> Any:
    """The value of an `if`, where `success()` is meant unless another status is asked for."""
    text = text.strip() or "success()"
    inner = only(text) or text
    if not re.search(rf"\b({'|'.join(STATUS)})\s*\(", inner):
        inner = f"success() && ({inner})"
    return truth(evaluate(inner, context))


def only(text: str) -> str:
    """The expression of a text that is nothing but one; else nothing."""
    parts = EXPRESSION.split(text.strip())
    return parts[1] if len(parts) == 3 and not parts[0] and not parts[2] else ""


def inside(text: str) -> list[str]:
    """The expressions in a text."""
    return [part.strip() for part in EXPRESSION.findall(text)]


def evaluate(text: str, context: dict) -> Any:
    """The value of an expression, which Python's own parser reads."""

    def in_python(token: re.Match) -> str:
        if token["other"]:
            raise ExpressionError(f"{text!r}: {token['other']!r} is not understood")
        if token["word"]:
            return WORDS.get(token["word"], token["word"])
        return f"[{token['member']!r}]" if token["member"] else repr(token["text"][1:-1].replace("''", "'"))

    try:
        tree = ast.parse(TOKEN.sub(in_python, text).replace("\n", " ").strip(), mode="eval")
    except SyntaxError as error:
        raise ExpressionError(f"{text!r}: {error}") from None
    return _value(tree.body, context)


def truth(value: Any) -> Any:
    return UNKNOWN if value is UNKNOWN else value not in (None, False, 0, "")


def written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def _value(node: ast.expr, context: dict) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in context:
        return context[node.id]
    if isinstance(node, ast.BoolOp):
        decisive = isinstance(node.op, ast.Or)
        values = (_value(one, context) for one in node.values)
        return functools.reduce(lambda first, second: _choose(first, second, decisive), values)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
        first, second = (_value(one, context) for one in (node.left, *node.comparators))
        same = _plain(first) == _plain(second)
        return UNKNOWN if UNKNOWN in (first, second) else same is isinstance(node.ops[0], ast.Eq)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        value = truth(_value(node.operand, context))
        return UNKNOWN if value is UNKNOWN else not value
    if isinstance(node, ast.Subscript):
        value, key = _value(node.value, context), _value(node.slice, context)
        return value if value is UNKNOWN else value.get(written(key)) if isinstance(value, dict) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in (*STATUS, *FUNCTIONS):
        arguments = [_value(one, context) for one in node.args]
        if node.func.id in STATUS:
            return context["status"][node.func.id]
        return UNKNOWN if UNKNOWN in arguments else FUNCTIONS[node.func.id](*arguments)
    raise ExpressionError(f"{ast.unparse(node)} is not understood here")


def _choose(first: Any, second: Any, decisive: bool) -> Any:
    if truth(first) is UNKNOWN:
        return decisive if truth(second) is decisive else UNKNOWN
    return first if truth(first) is decisive else second


def _plain(value: Any) -> Any:
    """GitHub compares without regard to case, and numbers with what looks like one."""
    if isinstance(value, str):
        return value.lower()
    return "" if value is None else value


FUNCTIONS: dict[str, Callable] = {
    "contains": lambda container, part: part in container,
    "endsWith": lambda text, end: _plain(text).endswith(_plain(end)),
    "format": lambda pattern, *values: re.sub(r"\{([0-9])\}", lambda n: written(values[int(n[1])]), pattern),
    "fromJSON": json.loads,
    "hashFiles": lambda *_patterns: "0" * 64,
    "startsWith": lambda text, begin: _plain(text).startswith(_plain(begin)),
    "toJSON": json.dumps,
}
