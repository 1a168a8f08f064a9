"""Validates a YAML tree by the models of ``core.policy.schema``; each mistake gets its line and column."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from softbounce.core.durations import shown
from softbounce.core.policy.schema import File, Layer
from softbounce.core.policy.sections import Target
from softbounce.core.policy.yaml_tree import Mistake, Path, Tree

Model = TypeVar("Model", bound=BaseModel)
TARGETS: dict[str, type[BaseModel]] = {
    get_args(kind.model_fields["type"].annotation)[0]: kind for kind in get_args(get_args(Target)[0])
}
RULE_ENDS: tuple[list[str], ...] = ([], ["do"], ["fault"], ["when"])
ROUNDS = 20  # wrong values are removed and the rest is validated again at most so often

MESSAGES = {
    "model_type": "a block of keys is needed here, not {input}",
    "dict_type": "a block of keys is needed here, not {input}",
    "list_type": "a list is needed here, not {input}",
    "int_type": "a whole number is needed here, not {input}",
    "int_from_float": "a whole number is needed here, not {input}",
    "float_type": "a number is needed here, not {input}",
    "string_type": "text is needed here, not {input}; put it in quotes",
    "union_tag_not_found": "'type' is missing; write log, celery, stream, webhook or apprise",
    "string_too_short": "this may not be empty",
    "string_too_long": "this may have at most {max_length} characters",
    "too_short": "a list needs at least {min_length} item here",
    "too_long": "a list may have at most {max_length} items here",
    "greater_than": "this must be more than {gt:g}",
    "greater_than_equal": "this must be at least {ge:g}",
    "less_than_equal": "this must be at most {le:g}",
}


def did_you_mean(word: object, options: Sequence[str], *, cutoff: float = 0.6) -> str:
    """Return ``; did you mean 'x'?`` with the nearest option, or an empty text."""
    short = word if isinstance(word, str) and len(word) <= 60 else ""  # noqa: PLR2004 - difflib takes quadratic time
    near = get_close_matches(short, options, n=1, cutoff=cutoff)
    return f"; did you mean '{near[0]}'?" if near else ""


def read(tree: Tree) -> tuple[File | None, dict[str, Any], list[Mistake]]:
    """Return the file's model, the plain values that it was made of, and every mistake.

    Both come without the wrong values, so that the rest can be checked in the same run. The model is None if
    nothing is left to check.
    """
    raw = tree.plain()
    mistakes: list[Mistake] = []
    if not isinstance(raw, dict):
        if tree.root:
            mistakes.append(
                Mistake(place=tree.root.place, message="a policy is a block of keys: version: 1 ...")
            )
        return None, {}, mistakes
    for round_ in range(ROUNDS):
        try:
            return File.model_validate(raw), raw, mistakes
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                if round_ == 0:
                    mistakes.append(_mistake(tree, problem))
                _leave_out(raw, problem["loc"])
    return None, raw, mistakes


def read_as(model: type[Model], tree: Tree) -> tuple[Model | None, list[Mistake]]:
    """Return another kind of file as its model, or None and every mistake in it."""
    raw = tree.plain()
    if tree.root is None:
        return None, []
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        return None, [_mistake(tree, problem, model) for problem in error.errors(include_url=False)]


def _mistake(tree: Tree, problem: Any, root: type[BaseModel] = File) -> Mistake:  # noqa: ANN401 - pydantic's ErrorDetails
    path, kind, context = problem["loc"], problem["type"], problem.get("ctx", {})
    given = problem["input"]
    if kind == "extra_forbidden":
        return Mistake(place=tree.key_place(path), message=_unknown_key(path, root))
    if kind == "missing":
        return Mistake(place=tree.key_place(path[:-1]), message=f"'{path[-1]}' is missing here")
    if kind == "union_tag_invalid":
        place, name = tree.value_place((*path, "type")), context["tag"]
        message = f"{shown(name)} is not one of {_listed([*TARGETS])}{did_you_mean(name, [*TARGETS])}"
        return Mistake(place=place, message=message)
    if kind == "value_error":
        is_key = path[-1] == "[key]" or isinstance(given, dict)
        place = tree.key_place(path) if is_key else tree.value_place(path)
        return Mistake(place=place, message=str(context["error"]))
    if kind == "literal_error":
        return Mistake(place=tree.value_place(path), message=_not_one_of(given, context["expected"]))
    template = MESSAGES.get(kind)
    message = template.format(input=shown(given), **context) if template else problem["msg"]
    return Mistake(place=tree.value_place(path), message=message)


def _unknown_key(path: Path, root: type[BaseModel]) -> str:
    key = str(path[-1])
    model = root
    for step in path[:-1]:
        tagged = TARGETS.get(str(step)) if model in TARGETS.values() else None  # a step that pydantic adds
        model = tagged or _block(model, step) or model
    names = [field.alias or name for name, field in model.model_fields.items()]
    if key == "brake":
        return "'brake' belongs under defaults.suppression: it is one for all levels"
    if model is File and key in Layer.model_fields:
        return f"{shown(key)} belongs under defaults, channels.NAME or merchants.NAME"
    hint = did_you_mean(key, names) or f"; known here: {', '.join(names)}"
    return f"unknown key {shown(key)}{hint}"


def _block(model: type[BaseModel], step: int | str) -> Any:  # noqa: ANN401 - a model, or None
    """Return the model of a key, also from inside a list, a mapping or a union."""
    field = model.model_fields.get(str(step))
    waiting = [field.annotation] if field else []
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
        waiting += get_args(kind)
    return None


def _not_one_of(given: object, expected: str) -> str:
    options = [option.strip("'") for option in expected.replace(" or ", ", ").split(", ")]
    if options == ["off"]:
        return f"{shown(given)} is neither off nor a block of keys"
    if isinstance(given, str) and options == [given]:
        return f"the number {given} is needed here, not text; leave out the quotes"
    wanted = f"one of {_listed(options)}" if len(options) > 1 else options[0]
    return f"{shown(given)} is not {wanted}{did_you_mean(given, options)}"


def _listed(options: Sequence[str]) -> str:
    return f"{', '.join(options[:-1])} or {options[-1]}" if len(options) > 1 else options[0]


def _leave_out(raw: dict[str, Any], path: Path) -> None:
    """Remove the value at ``path``; a code rule whose ``do``, ``fault`` or ``when`` is wrong becomes a hold.

    If it were removed, a wildcard would apply to its code and get mistakes that it does not have.
    """
    if path == ("version",):
        raw["version"] = 1
        return
    holders: list[dict[str, Any]] = []
    names: list[str] = []
    node: Any = raw
    for step in path:
        if isinstance(node, dict) and step in node:
            holders.append(node)
            names.append(str(step))
            node = node[step]
    if not names:
        return
    rule = {"codes": 1, "merchants": 3}.get(names[0], len(names))  # index of the name of a code in the path
    if names[:2] == ["escalation", "targets"] and len(names) > 2:  # noqa: PLR2004 - escalation.targets.NAME
        holders[2][names[2]] = {"type": "log"}
    elif (
        names[rule - 1 : rule] == ["codes"]
        and names[rule:]
        and path[-1] != "[key]"
        and names[rule + 1 : rule + 2] in RULE_ENDS
    ):
        holders[rule][names[rule]] = {"do": "hold"}
    else:
        holders[-1].pop(names[-1], None)
