"""Mutants of a Solidity source, from the compiler's syntax tree: comments and strings are never touched.

The rules are those of the literature (relational, arithmetic and logical operators, constants, conditions,
deleted statements, swapped arguments, dropped modifiers) and one of the field's own: the rounding direction.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

Node = Mapping[str, Any]
"""A node of solc's syntax tree; `src` is its place as `start:length:file`, in bytes."""

COMMENT = re.compile(rb"//[^\n]*|/\*.*?\*/", re.DOTALL)
BINARY = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<"),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
    "+": ("-",),
    "-": ("+",),
    "*": ("/",),
    "/": ("*",),
    "%": ("*",),
    "**": ("*",),
    "&&": ("||",),
    "||": ("&&",),
    "<<": (">>",),
    ">>": ("<<",),
    "&": ("|",),
    "|": ("&",),
}
ASSIGNMENT = {"+=": ("-=", "="), "-=": ("+=", "="), "*=": ("/=",), "/=": ("*=",)}
LOGICAL = ("&&", "||")
RELATIONAL = ("<", "<=", ">", ">=", "==", "!=")
OPPOSITE = {"min": "max", "max": "min", "Ceil": "Floor", "Floor": "Ceil", "++": "--", "--": "++"}
SIMPLE = (
    "ExpressionStatement",
    "VariableDeclarationStatement",
    "Return",
    "EmitStatement",
    "RevertStatement",
    "ModifierInvocation",
)
"""What a mutant is shown in: the smallest of these around it, or the condition it is in."""


@dataclass(frozen=True)
class Edit:
    """Bytes `start` to `end` give way to `text`."""

    rule: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Mutant:
    """One edit of one file. `original` and `mutated` are the statement or condition before and after, white
    space folded; `occurrence` tells equal ones within a function apart, from 1."""

    file: str
    function: str
    rule: str
    original: str
    mutated: str
    occurrence: int
    edit: Edit

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What stays the same when other code of the file changes."""
        return (self.file, self.function, self.original, self.mutated, self.occurrence)

    @property
    def id(self) -> str:
        return hashlib.sha256(repr(self.key).encode()).hexdigest()[:16]

    def apply(self, source: bytes) -> bytes:
        return source[: self.edit.start] + self.edit.text.encode() + source[self.edit.end :]

    def __str__(self) -> str:
        again = f" (occurrence {self.occurrence})" if self.occurrence > 1 else ""
        return f"{self.file} {self.function}{again} [{self.rule}]\n  - {self.original}\n  + {self.mutated}"


def mutants(file: str, source: bytes, tree: Node) -> list[Mutant]:
    """Every mutant of a source, in the order of the source. Unequal in their keys."""
    found: list[Mutant] = []
    for path in walk(tree, ()):
        for edit in edits(path, source):
            start, end = context(path)
            before = source[start:end]
            after = source[start : edit.start] + edit.text.encode() + source[edit.end : end]
            found.append(Mutant(file, function(path), edit.rule, fold(before), fold(after), 1, edit))
    found.sort(key=lambda mutant: (mutant.edit.start, mutant.edit.end, mutant.edit.text))
    seen: Counter[tuple[str, str, str, str, int]] = Counter()
    numbered = []
    for mutant in found:
        seen[mutant.key] += 1
        numbered.append(replace(mutant, occurrence=seen[mutant.key]))
    return numbered


def walk(node: Any, path: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    """Every node of a tree with the nodes around it, outermost first."""
    if isinstance(node, list):
        for each in node:
            yield from walk(each, path)
    elif isinstance(node, dict):
        if "nodeType" in node and "src" in node:
            path = (*path, node)
            yield path
        for value in node.values():
            if isinstance(value, dict | list):
                yield from walk(value, path)


def span(node: Node) -> tuple[int, int]:
    start, length, _ = map(int, node["src"].split(":"))
    return start, start + length


def fold(text: bytes) -> str:
    return " ".join(text.decode().split())


def function(path: tuple[Node, ...]) -> str:
    """`Contract.function`, or the contract alone."""
    kinds = ("ContractDefinition", "FunctionDefinition", "ModifierDefinition")
    return ".".join(node["name"] or node["kind"] for node in path if node["nodeType"] in kinds)


def context(path: tuple[Node, ...]) -> tuple[int, int]:
    """The place of what a mutant at the end of `path` is shown in."""
    if path[-1]["nodeType"] == "IfStatement":
        return span(path[-1]["condition"])
    for around, node in zip(reversed((None, *path[:-1])), reversed(path), strict=True):
        if node["nodeType"] in SIMPLE or (
            node["nodeType"] == "VariableDeclaration" and node["stateVariable"]
        ):
            return span(node)
        if around is not None and around.get("condition") is node:
            return span(node)
    return span(path[-1])


def edits(path: tuple[Node, ...], source: bytes) -> Iterator[Edit]:
    """What the rules make of the last node of `path`."""
    rule = RULES.get(path[-1]["nodeType"])
    if rule is not None:
        yield from rule(path, source)


def binary(path: tuple[Node, ...], source: bytes) -> Iterator[Edit]:
    node = path[-1]
    operator = node["operator"]
    start = between(node["leftExpression"], node["rightExpression"], operator, source)
    rule = "logical" if operator in LOGICAL else "relational" if operator in RELATIONAL else "arithmetic"
    for other in BINARY.get(operator, ()):
        yield Edit(rule, start, start + len(operator), other)


def assignment(path: tuple[Node, ...], source: bytes) -> Iterator[Edit]:
    node = path[-1]
    operator = node["operator"]
    start = between(node["leftHandSide"], node["rightHandSide"], operator, source)
    for other in ASSIGNMENT.get(operator, ()):
        yield Edit("arithmetic", start, start + len(operator), other)


def between(left: Node, right: Node, operator: str, source: bytes) -> int:
    """Where the operator stands, past any comment that holds the same characters."""
    start = span(left)[1]
    gap = COMMENT.sub(lambda comment: b" " * len(comment[0]), source[start : span(right)[0]])
    return start + gap.index(operator.encode())


def unary(path: tuple[Node, ...], source: bytes) -> Iterator[Edit]:
    node = path[-1]
    start, end = span(node)
    operator = node["operator"]
    if operator in OPPOSITE:
        place = start if node["prefix"] else end - len(operator)
        yield Edit("arithmetic", place, place + len(operator), OPPOSITE[operator])
    elif operator == "!":
        yield Edit("logical", start, start + 1, "")


def literal(path: tuple[Node, ...], source: bytes) -> Iterator[Edit]:
    """Numbers one up and one down; truth values turned round. The size of an array type is not a value."""
    node = path[-1]
    start, end = span(node)
    text = source[start:end].decode()
    if node["kind"] == "bool":
        yield Edit("constant", start, end, "false" if text == "true" else "true")
    if node["kind"] != "number" or path[-2]["nodeType"] == "ArrayTypeName":
        return
    plain = text.isdecimal()
    yield Edit("constant", start, end, str(int(text) + 1) if plain else f"({text} + 1)")
    if node["value"] != "0":
        yield Edit("constant", start, end, str(int(text) - 1) if plain else f"({text} - 1)")


def condition(path: tuple[Node, ...], source: bytes) -> Iterator[Edit]:
    yield from negation(path[-1]["condition"], source)


def negation(node: Node, source: bytes) -> Iterator[Edit]:
    start, end = span(node)
    yield Edit("condition", start, end, f"!({source[start:end].decode()})")


def call(path: tuple[Node, ...], source: bytes) -> Iterator[Edit]:
    node = path[-1]
    arguments = node["arguments"]
    name = node["expression"].get("memberName") or node["expression"].get("name")
    if name == "require" and arguments:
        yield from negation(arguments[0], source)
    if name == "mulDiv" and not any("Rounding" in types(each) for each in arguments):
        end = span(arguments[-1])[1]
        yield Edit("rounding", end, end, ", Math.Rounding.Ceil")
    for first, second in pairwise(arguments):
        if types(first) == types(second) and not commutes(node, name, first):
            yield from swap(span(first), span(second), source)


def types(node: Node) -> str:
    return str(node["typeDescriptions"].get("typeString", ""))


def commutes(node: Node, name: str | None, first: Node) -> bool:
    """Whether an argument may change places with the next one, as the factors of `Math.mulDiv` may."""
    if name in ("min", "max"):
        return True
    owner = node["expression"].get("expression", {}).get("name")
    return name == "mulDiv" and owner == "Math" and first is node["arguments"][0]


def swap(first: tuple[int, int], second: tuple[int, int], source: bytes) -> Iterator[Edit]:
    left, right = source[slice(*first)], source[slice(*second)]
    if left != right:
        text = right + source[first[1] : second[0]] + left
        yield Edit("arguments", first[0], second[1], text.decode())


def member(path: tuple[Node, ...], source: bytes) -> Iterator[Edit]:
    node = path[-1]
    name = node["memberName"]
    if name in ("Ceil", "Floor", "min", "max"):
        end = span(node)[1]
        rule = "rounding" if name in ("Ceil", "Floor") else "bound"
        yield Edit(rule, end - len(name), end, OPPOSITE[name])


def statement(path: tuple[Node, ...], source: bytes) -> Iterator[Edit]:
    """Deletes it. An empty block stays, since it may be all that an `if` governs."""
    node = path[-1]
    around = path[-2]
    if around["nodeType"] == "ForStatement" and around["body"] is not node:
        return
    start, end = span(node)
    if not source[start:end].endswith(b";"):
        end = source.index(b";", end) + 1
    yield Edit("deletion", start, end, "{}")


def modifier(path: tuple[Node, ...], source: bytes) -> Iterator[Edit]:
    node = path[-1]
    if node.get("kind") == "modifierInvocation":
        yield Edit("modifier", *span(node), "")


RULES: Mapping[str, Callable[[tuple[Node, ...], bytes], Iterator[Edit]]] = {
    "BinaryOperation": binary,
    "Assignment": assignment,
    "UnaryOperation": unary,
    "Literal": literal,
    "IfStatement": condition,
    "Conditional": condition,
    "FunctionCall": call,
    "MemberAccess": member,
    "ExpressionStatement": statement,
    "EmitStatement": statement,
    "RevertStatement": statement,
    "Return": statement,
    "ModifierInvocation": modifier,
}
