"""The form of a part of the configuration, by its JSON schema."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from diffufuse.errors import BadInput, printable
from diffufuse.files.names import instead, near
from diffufuse.study.annotations import is_number
from diffufuse.study.dataset_patterns import dicom_keywords

LONGEST_MESSAGE = 300
# Type, pattern or other requirement of a schema to what a person does about a value that does not meet it.
TYPES = {
    "array": "write a list, as in [a, b]",
    "object": "write names with their values, as in {a: 1}",
    "string": "write a text, in quotes if it looks like a number",
}
PATTERNS = {
    "^[a-z0-9_]+$": "write small letters, digits and `_`",
    "^[a-z0-9.-]+$": "write small letters, digits, dots and hyphens",
    "^[a-z0-9]+$": "write small letters and digits",
    "^[A-Za-z0-9_-]+$": "write letters, digits, `_` and `-`",
    r"\{case\}": "write {case} where the name of the case stands",
}
OTHERS = {
    "required": "add it",
    "minItems": "name at least one",
    "minProperties": "name at least one",
    "uniqueItems": "name each once",
    "maxLength": "leave the key out, as another says that there is none",
}


def check_form(content: Any, schema: Mapping[str, Any], *, where: str) -> None:
    """Check a part of the configuration against its JSON schema.

    Args:
        content: as read from YAML.
        schema: JSON Schema, draft 2020-12; numbers are finite, and an integer is written as one.
        where: name of the part, for the message.

    Raises:
        BadInput: the content does not match the schema; the message names the place and, for a key or a choice, the
            near name and the known ones.
    """
    errors = list(Validator(schema).iter_errors(_as_json(content, where)))
    error = best_match(errors)
    if error is None:
        return
    if error.validator == "required":  # a misspelled key says more than the one that it should be
        unknown = (e for e in errors if e.validator == "additionalProperties" and e.path == error.path)
        error = next(unknown, error)
    place = ".".join(str(step) for step in (where, *error.absolute_path))
    long = len(error.message) >= LONGEST_MESSAGE
    message = f"expected another form: {error.validator}" if long else printable(error.message)
    raise BadInput(f"{printable(place)}: {message}{_hint(error, where)}")


def _as_json(content: Any, where: str) -> Any:
    """The content with texts as keys, as rules are given it."""
    try:
        return json.loads(json.dumps(content))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(
            f"{where}: expected texts, numbers, lists and mappings, got another value; write a date or another odd "
            "value in quotes."
        ) from error


def _hint(error: ValidationError, where: str) -> str:
    """The end of the sentence: what to do."""
    if error.validator == "additionalProperties":
        known, tags = error.schema.get("properties", {}), error.schema.get("patternProperties", {})
        unknown = [key for key in error.instance if key not in known and not any(re.search(tag, key) for tag in tags)]
        if tags:
            hint = near(unknown[0], [*known, *dicom_keywords()])
            return f"{hint or ';'} known are DICOM keywords such as SeriesDescription, and {', '.join(known)}."
        return instead(unknown[0], known) if known else "."
    if error.validator == "enum":
        return near(error.instance, error.validator_value) or "."
    wanted, instance = error.validator_value if error.validator == "type" else None, str(error.instance)
    if wanted in ("integer", "number") and isinstance(error.instance, str) and _number(instance) is not None:
        if not re.fullmatch(r"-?[0-9.]+", instance) or where != "config":
            return "; write the number in plain digits, without quotes."
        return (
            "; --config gives texts for what is in braces, so write it into a file that --configfile names, "
            "without quotes."
        )
    texts = {"type": TYPES, "pattern": PATTERNS}.get(error.validator, {})
    advice = texts.get(str(error.validator_value)) or (OTHERS.get(error.validator) if _says_one_thing(error) else None)
    return f"; {advice}." if advice else "."


def _says_one_thing(error: ValidationError) -> bool:
    """Whether a failed requirement asks for something rather than nothing, or for nothing rather than something."""
    return not isinstance(error.validator_value, int) or error.validator_value == (error.validator != "maxLength")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    """As JSON Schema has it, where `$` is the end of the text and not also the place before a last line break."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _is_integer(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


Validator = extend(
    Draft202012Validator,
    validators={"pattern": _pattern},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": lambda _, value: is_number(value)}
    ),
)
