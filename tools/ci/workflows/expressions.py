"""The expressions of GitHub's workflows, as far as ours use them: `${{ a.b == 'c' && !failure() }}`.

What cannot be known beforehand is UNKNOWN; an expression that depends on it is UNKNOWN too, so that
FALSE means never. Another word than those below is an error: it is better to refuse than to guess.
"""

import json
import re
from typing import Any, Callable

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?[0-9]+(?:\.[0-9]+)?)"
    r"|(?P<word>[A-Za-z_][\w-]*)|(?P<sign>&&|\|\||[=!<>]=|[().,\[\]!<>*]))"
)
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
    parser = _Parser(text, context)
    value = parser.disjunction()
    if parser.ahead is not None:
        raise ExpressionError(f"{text!r}: {parser.ahead[1]!r} is too much")
    return value


def truth(value: Any) -> Any:
    return UNKNOWN if value is UNKNOWN else value not in (None, False, 0, "")


def written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


class _Parser:
    """Recursive descent, in GitHub's order: `||`, `&&`, comparisons, `!`, values."""

    def __init__(self, text: str, context: dict) -> None:
        self.text, self.place, self.context = text, 0, context
        self.ahead: Any = None
        self.step()

    def step(self) -> Any:
        taken = self.ahead
        rest = self.text[self.place :]
        if not rest.strip():
            self.ahead = None
            return taken
        found = TOKEN.match(self.text, self.place)
        if found is None:
            raise ExpressionError(f"{self.text!r}: {rest.strip()[:20]!r} is not understood")
        self.place = found.end()
        self.ahead = (found.lastgroup, found[found.lastgroup or 0])
        return taken

    def sign(self, *signs: str) -> str:
        if self.ahead and self.ahead[0] == "sign" and self.ahead[1] in signs:
            return self.step()[1]
        return ""

    def expect(self, sign: str) -> None:
        if not self.sign(sign):
            raise ExpressionError(f"{self.text!r}: {sign!r} is missing")

    def disjunction(self) -> Any:
        value = self.conjunction()
        while self.sign("||"):
            value = self._choose(value, self.conjunction(), True)
        return value

    def conjunction(self) -> Any:
        value = self.comparison()
        while self.sign("&&"):
            value = self._choose(value, self.comparison(), False)
        return value

    @staticmethod
    def _choose(first: Any, second: Any, decisive: bool) -> Any:
        if truth(first) is UNKNOWN:
            return decisive if truth(second) is decisive else UNKNOWN
        return first if truth(first) is decisive else second

    def comparison(self) -> Any:
        value = self.negation()
        while sign := self.sign("==", "!="):
            other = self.negation()
            if UNKNOWN in (value, other):
                value = UNKNOWN
            else:
                value = _plain(value) == _plain(other)
                value = value if sign == "==" else not value
        return value

    def negation(self) -> Any:
        if self.sign("!"):
            value = truth(self.negation())
            return UNKNOWN if value is UNKNOWN else not value
        return self.value()

    def value(self) -> Any:
        if self.sign("("):
            value = self.disjunction()
            self.expect(")")
            return value
        if self.ahead is None:
            raise ExpressionError(f"{self.text!r} ends too early")
        kind, text = self.step()
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return float(text)
        if kind != "word":
            raise ExpressionError(f"{self.text!r}: {text!r} is not expected")
        if text in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[text]
        return self.function_call(text) if self.sign("(") else self.lookup(text)

    def function_call(self, name: str) -> Any:
        arguments = []
        while not self.sign(")"):
            arguments.append(self.disjunction())
            self.sign(",")
        if name in STATUS:
            return self.context["status"][name]
        if name not in FUNCTIONS:
            raise ExpressionError(f"{self.text!r}: there is no function {name}")
        return UNKNOWN if UNKNOWN in arguments else FUNCTIONS[name](*arguments)

    def lookup(self, name: str) -> Any:
        if name not in self.context:
            raise ExpressionError(f"{self.text!r}: {name} is not known here")
        value = self.context[name]
        while sign := self.sign(".", "["):
            if sign == ".":
                key = self.step()[1]
            else:
                key = self.disjunction()
                self.expect("]")
            if value is not UNKNOWN:
                value = value.get(written(key)) if isinstance(value, dict) else None
        return value


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
