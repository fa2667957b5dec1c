"""What the parameters of a handler are filled with: words of a command, and what the bot provides."""

import functools
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import Parameter
from types import MappingProxyType
from typing import Any

from .arguments import TEXT, Kind, Misfit, Word, kind_of, without_none, words_of
from .calling import call, name_of, takes
from .context import Context
from .errors import InvalidInput

_BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_HINT = "A command's words, or bot.provide(), fill a parameter by its type."


@dataclass(frozen=True, slots=True)
class Slot:
    """A parameter that words fill."""

    name: str
    kind: Kind
    required: bool
    takes_many: bool = False
    """`*args`: it takes what is left, word by word."""
    becomes_none: bool = False
    """`X | None` without a default."""

    def __str__(self) -> str:
        label = self.name.replace("_", " ").strip()
        if self.kind.shown:
            label += f": {self.kind.shown}"
        if self.kind.is_rest or self.takes_many:
            label += "…"
        return f"<{label}>" if self.required else f"[{label}]"


@dataclass(slots=True)
class Signature:
    """How a handler is called."""

    handler: Any
    first: type
    """Of which class its first argument is."""
    has_words: bool
    """Whether words of a command fill parameters."""
    shape: inspect.Signature
    slots: list[Slot] = field(default_factory=list)
    needs: dict[str, tuple[object, bool]] = field(default_factory=dict)
    """Parameters that the bot provides: their type, and whether they can do without."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Parameters whose type cannot be found out (yet): what is written there."""

    @property
    def name(self) -> str:
        """What it is called in its program."""
        return name_of(self.handler)

    def check(self, provided: Mapping[object, object]) -> None:
        """Refuse what cannot be called, now that everything is defined.

        Raises:
            InvalidInput: nothing of the type of a parameter is provided, or its type cannot be found.
        """
        if self.unknown:
            again = signature_of(self.handler, self.first, has_words=self.has_words)
            self.slots, self.needs, self.unknown = again.slots, again.needs, again.unknown
        for name, written in self.unknown.items():
            raise _refused(self.handler, name, f"whose type {written} is not known there")
        for name, (kind, optional) in self.needs.items():
            if not optional and kind not in provided:
                raise _refused(self.handler, name, f"for which nothing is provided: {_named(kind)}")

    def usage(self, command: str) -> str:
        """The line that says how a command is written."""
        return " ".join([command, *map(str, self.slots)])

    async def call(
        self,
        provided: Mapping[object, object],
        first: object,
        words: Mapping[str, object] = MappingProxyType({}),
    ) -> object:
        """Call the handler. Raises what it raises; NotAsynchronous: as calling.call(); InvalidInput: as check()."""
        self.check(provided)
        bound = self.shape.bind_partial(first)
        for name, (kind, _) in self.needs.items():
            if kind in provided:
                bound.arguments[name] = provided[kind]
        bound.arguments |= words
        bound.apply_defaults()
        return await call(self.handler, *bound.args, **bound.kwargs)

    async def read(self, text: str, ctx: Context) -> dict[str, object]:
        """What the words of a text are for the parameters.

        Raises:
            Misfit: a word is missing, is too many, or does not fit; its text says so.
        """
        if not self.slots:
            return {}  # The handler reads ctx.args itself.
        left = words_of(text)
        values: dict[str, object] = {}
        for slot in self.slots:
            if slot.takes_many:
                values[slot.name] = tuple([await _value(slot, word.text, ctx) for word in left])
                left = []
            elif not left:
                if slot.required:
                    raise Misfit(f"{slot.name} is missing")
                if slot.becomes_none:
                    values[slot.name] = None
            elif slot.kind.is_rest:
                values[slot.name] = await _value(slot, text[left[0].begin :].rstrip(), ctx)
                left = []
            else:
                word, *left = left
                values[slot.name] = await _value(slot, word.text, ctx)
        _none_left(left)
        return values


async def _value(slot: Slot, word: str, ctx: Context) -> object:
    try:
        return await slot.kind.read(word, ctx)
    except Misfit as misfit:
        raise Misfit(f"{slot.name}: {misfit}") from None


def _none_left(left: list[Word]) -> None:
    if left:
        raise Misfit(f"there is more than it takes: {' '.join(word.text for word in left)[:40]}")


def signature_of(handler: Any, first: type, *, has_words: bool = False) -> Signature:
    """How a handler is called, whose first argument is of the class `first`.

    Args:
        handler: what was put there as one.
        first: what it gets.
        has_words: whether it is one of a command, whose words fill parameters.

    Raises:
        InvalidInput: it is no function of such an argument, or a parameter can be filled with nothing.
    """
    if not callable(handler):
        takes(handler, 1)
    try:
        shape = inspect.signature(handler)
    except (TypeError, ValueError):
        # It does not say what it takes.
        shape = inspect.Signature([Parameter("arguments", Parameter.VAR_POSITIONAL)])
    hints, unknown = _hints(handler)
    parameters = list(shape.parameters.values())
    if not parameters or parameters[0].kind not in (*_BY_PLACE, Parameter.VAR_POSITIONAL):
        takes(handler, 1)
        raise _refused(handler, str(shape), "which is no place for an argument")
    head, *others = parameters
    if not _may_get(hints.get(head.name), first):
        name = first.__name__
        raise _refused(handler, head.name, f"which gets a {name} and is {_named(hints[head.name])}")
    found = Signature(handler, first, has_words, shape)
    for parameter in others:
        _add(found, parameter, hints, unknown, has_words=has_words)
    return found


def _add(
    found: Signature,
    parameter: Parameter,
    hints: Mapping[str, object],
    unknown: Mapping[str, str],
    *,
    has_words: bool,
) -> None:
    """Find out what fills a parameter."""
    name, handler = parameter.name, found.handler
    optional = parameter.default is not Parameter.empty
    many = parameter.kind is Parameter.VAR_POSITIONAL
    if parameter.kind is Parameter.VAR_KEYWORD or (many and not has_words):
        return
    if name in unknown:
        if not optional:
            found.unknown[name] = unknown[name]
        return
    if name not in hints:
        if many:
            found.slots.append(Slot(name, TEXT, required=False, takes_many=True))
        elif not optional:
            raise _refused(handler, name, "which has no type")
        return
    annotation, may_be_none = without_none(hints[name])
    kind = kind_of(annotation)
    if kind is None:
        if many:
            raise _refused(handler, name, f"which no words are: {_named(annotation)}")
        found.needs[name] = (annotation, optional)
    elif has_words and parameter.kind is not Parameter.KEYWORD_ONLY:
        if found.slots and found.slots[-1].kind.is_rest:
            raise _refused(handler, name, f"behind {found.slots[-1].name}, which gets all the rest")
        none = may_be_none and not optional
        required = not (optional or none or many)
        found.slots.append(Slot(name, kind, required, takes_many=many, becomes_none=none))
    elif not optional:
        why = "which stands behind a *" if has_words else "which only a command's words fill"
        raise _refused(handler, name, f"{why}: {_named(annotation)}")


def _hints(handler: Any) -> tuple[dict[str, object], dict[str, str]]:
    """The types of its parameters by their names; and what is written where that cannot be found."""
    function = handler
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    function = inspect.unwrap(function)
    written: dict[str, object] = dict(getattr(function, "__annotations__", {}))
    space = getattr(function, "__globals__", {})
    found: dict[str, object] = {}
    unknown: dict[str, str] = {}
    for name, annotation in written.items():
        one = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            found |= typing.get_type_hints(one, globalns=space, include_extras=True)
        except Exception:  # noqa: BLE001  # an annotation may be any expression
            unknown[name] = str(annotation)
    return found, unknown


def _may_get(annotation: object, given: type) -> bool:
    """Whether a parameter with this annotation may get a value of a class. What is no class is not looked at."""
    if not inspect.isclass(annotation) or annotation is Any:
        return True
    try:
        return issubclass(given, annotation) or issubclass(annotation, given)
    except TypeError:
        return True  # a protocol


def _named(kind: object) -> str:
    return kind.__name__ if inspect.isclass(kind) else str(kind)


def _refused(handler: Any, parameter: str, why: str) -> InvalidInput:
    what = f"handler: {name_of(handler)} has a parameter {parameter}, {why}"
    return InvalidInput(what, field="handler", hint=_HINT)
