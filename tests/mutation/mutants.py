"""The mutants of a source file: each is one function with one small change.

What is changed: comparisons, conditions, ``and`` and ``or``, arithmetic, numbers, truth values,
names in quotes, what is returned; statements that call, raise or set an attribute are left out.
What is not: annotations, decorators, defaults of parameters, what stands outside of functions,
asserts (they narrow types), and sentences: text with a blank in it, and all that ``raise`` says.
"""

import ast
import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}

ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.Pow: ast.Mult,
}


@dataclass(frozen=True)
class Target:
    """A function of a file.

    Attributes:
        name: ``file.py:Class.method``; a second one of that name ends in ``#2``.
        qualname: as Python names it.
        line: the first, that of its first decorator.
        source: a hash of its text without comments and docstrings.
        mutants: what each changes, as ``old -> new``, in the order of their numbers.
    """

    name: str
    qualname: str
    line: int
    source: str
    mutants: tuple[str, ...]


def targets(file: str, source: str) -> list[Target]:
    """Return the functions of a file in which there is something to change."""
    found: list[Target] = []
    seen: dict[str, int] = {}
    for function, qualname in functions(ast.parse(source)):
        seen[qualname] = seen.get(qualname, 0) + 1
        number = f"#{seen[qualname]}" if seen[qualname] > 1 else ""
        mutants = tuple(descriptions(function))
        if mutants:
            found.append(
                Target(
                    f"{file}:{qualname}{number}",
                    qualname,
                    first_line(function),
                    fingerprint(function),
                    mutants,
                )
            )
    return found


def functions(tree: ast.Module) -> Iterator[tuple[Function, str]]:
    """Yield each function that stands in no other one, with its qualified name."""

    def walk(body: list[ast.stmt], names: tuple[str, ...]) -> Iterator[tuple[Function, str]]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node, ".".join((*names, node.name))
            elif isinstance(node, ast.ClassDef):
                yield from walk(node.body, (*names, node.name))
            elif isinstance(node, ast.If | ast.Try):
                yield from walk(node.body + node.orelse, names)

    return walk(tree.body, ())


def first_line(function: Function) -> int:
    """Return the line with which its code object begins."""
    return min([function.lineno, *(each.lineno for each in function.decorator_list)])


def fingerprint(node: ast.AST) -> str:
    """Return a hash of code that does not change with its place, comments and docstrings."""
    bare = copy.deepcopy(node)
    for each in ast.walk(bare):
        body = getattr(each, "body", None)
        if isinstance(body, list) and len(body) > 1 and is_text(body[0]):
            del body[0]
    return hashlib.sha256(ast.unparse(bare).encode()).hexdigest()[:12]


def is_text(node: ast.AST) -> bool:
    """Tell whether a statement is a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def descriptions(function: Function) -> list[str]:
    """Return what each mutant of a function changes; two with the same text are numbered."""
    changer = Changer(None)
    changer.change(copy.deepcopy(function))
    seen: dict[str, int] = {}
    found = []
    for text in changer.found:
        seen[text] = seen.get(text, 0) + 1
        found.append(f"{text} #{seen[text]}" if seen[text] > 1 else text)
    return found


def mutated(source: str, line: int, number: int | None) -> ast.Module:
    """Return a file's tree with one mutant of the function that begins in a line; None for none."""
    tree = ast.parse(source)
    for function, _ in functions(tree):
        if first_line(function) == line and number is not None:
            Changer(number).change(function)
    return ast.fix_missing_locations(tree)


class Changer(ast.NodeTransformer):
    """Makes one change in a function, or none and lists them all.

    Args:
        wanted: the number of the change.
    """

    def __init__(self, wanted: int | None) -> None:
        self.found: list[str] = []
        self._wanted = wanted

    def change(self, function: Function) -> None:
        """Change the function's body in place."""
        function.body = self._each(function.body)

    def _each(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self.visit(node) for node in body]

    def _offer(self, old: ast.AST, *new: ast.AST) -> ast.AST:
        """Return the node, or a change of it if its turn has come."""
        chosen = old
        before = shortened(old)
        for each in new:
            if len(self.found) == self._wanted:
                chosen = left_out(old) if isinstance(each, ast.Pass) else each
            self.found.append(f"{before} -> {shortened(each)}")
        return ast.copy_location(chosen, old) if chosen is not old else old

    def _condition(self, test: ast.expr) -> ast.expr:
        """Visit a condition, and offer its contrary where no other change is that."""
        offered = self._offer(test, ast.UnaryOp(ast.Not(), test)) if needs_not(test) else test
        if offered is not test:
            return offered  # type: ignore[return-value]
        visited: ast.expr = self.visit(test)
        return visited

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Go into a function within the function."""
        self.change(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Go into a function within the function."""
        self.change(node)
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Leave it: it says something to the type checker."""
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Leave the annotation."""
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Leave it out; what it says is for people."""
        return self._offer(node, ast.Pass())

    def visit_If(self, node: ast.If) -> ast.AST:
        """Offer the contrary."""
        node.test = self._condition(node.test)
        node.body, node.orelse = self._each(node.body), self._each(node.orelse)
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        """Offer the contrary, but of no loop without an end."""
        if not isinstance(node.test, ast.Constant):
            node.test = self._condition(node.test)
        node.body, node.orelse = self._each(node.body), self._each(node.orelse)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        """Offer the contrary."""
        node.test = self._condition(node.test)
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        """Offer the contrary of each condition."""
        node.iter = self.visit(node.iter)
        node.ifs = [self._condition(each) for each in node.ifs]
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Move a limit by one, or ask for the contrary."""
        new = []
        for at, operator in enumerate(node.ops):
            operators = list(node.ops)
            operators[at] = COMPARISONS[type(operator)]()
            new.append(ast.Compare(node.left, operators, node.comparators))
        offered = self._offer(node, *new)
        return self.generic_visit(node) if offered is node else offered

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        """Have all be enough where one is, or one where all are."""
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        offered = self._offer(node, ast.BoolOp(other, node.values))
        return self.generic_visit(node) if offered is node else offered

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """Leave out a ``not`` or a minus."""
        if isinstance(node.op, ast.Not | ast.USub):
            offered = self._offer(node, node.operand)
            if offered is not node:
                return offered
            if isinstance(node.operand, ast.Compare) or isinstance(node.op, ast.USub):
                return node  # the same changes over again
        return self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Reckon otherwise."""
        if type(node.op) in ARITHMETIC and not is_union(node):
            other = ARITHMETIC[type(node.op)]()
            offered = self._offer(node, ast.BinOp(node.left, other, node.right))
            if offered is not node:
                return offered
        return self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """Reckon otherwise."""
        other = ARITHMETIC[type(node.op)]()
        offered = self._offer(node, ast.AugAssign(node.target, other, node.value))
        return self.generic_visit(node) if offered is node else offered

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """Leave out what is kept in an object."""
        if all(isinstance(each, ast.Attribute | ast.Subscript) for each in node.targets):
            offered = self._offer(node, ast.Pass())
            if offered is not node:
                return offered
        node.value = self.visit(node.value)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """Leave out what is called for its effect."""
        if isinstance(node.value, ast.Call | ast.Await):
            offered = self._offer(node, ast.Pass())
            if offered is not node:
                return offered
        return node if is_text(node) else self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> ast.AST:
        """Return nothing."""
        if node.value is None or is_none(node.value):
            return node
        offered = self._offer(node, ast.Return(ast.Constant(None)))
        return self.generic_visit(node) if offered is node else offered

    def visit_Break(self, node: ast.Break) -> ast.AST:
        """Go on instead."""
        return self._offer(node, ast.Continue())

    def visit_Continue(self, node: ast.Continue) -> ast.AST:
        """End the loop instead."""
        return self._offer(node, ast.Break())

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """Put something before a name that is composed, not into a sentence."""
        parts = [each.value for each in node.values if isinstance(each, ast.Constant)]
        if any(" " in str(part) for part in parts):
            return node
        other = ast.JoinedStr([ast.Constant("XX"), *node.values])
        return self._offer(node, other)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Leave ``cast`` to the type checker."""
        if isinstance(node.func, ast.Name) and node.func.id in ("cast", "TypeVar"):
            return node
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Take another value."""
        value = node.value
        if isinstance(value, bool):
            return self._offer(node, ast.Constant(not value))
        if isinstance(value, int | float):
            return self._offer(node, ast.Constant(value + 1))
        if isinstance(value, str) and " " not in value:
            return self._offer(node, ast.Constant("XX" + value))
        if isinstance(value, bytes) and b" " not in value:
            return self._offer(node, ast.Constant(b"XX" + value))
        return node


def needs_not(test: ast.expr) -> bool:
    """Tell whether the contrary of a condition is none of its other changes."""
    if isinstance(test, ast.Compare):
        exact = ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn
        return not (len(test.ops) == 1 and isinstance(test.ops[0], exact))
    return not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not))


def is_none(node: ast.expr) -> bool:
    """Tell whether an expression is ``None``."""
    return isinstance(node, ast.Constant) and node.value is None


def is_union(node: ast.BinOp) -> bool:
    """Tell whether ``|`` stands between names of types."""
    ends = node.right
    name = (
        ends.id
        if isinstance(ends, ast.Name)
        else ends.attr
        if isinstance(ends, ast.Attribute)
        else ""
    )
    return isinstance(node.op, ast.BitOr) and (name[:1].isupper() or name in BUILT_IN)


def left_out(statement: ast.AST) -> ast.If:
    """Return a statement that is never run: the function's names are still the same."""
    assert isinstance(statement, ast.stmt)
    return ast.If(ast.Constant(False), [statement], [])


BUILT_IN = {"int", "str", "float", "bytes", "bytearray", "memoryview", "dict", "list", "tuple"}


def shortened(node: ast.AST) -> str:
    """Return code on one line, short enough to be read."""
    text = " ".join(ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split())
    return text if len(text) <= 100 else f"{text[:70]} ... {text[-25:]}"
