"""Immutable records: what the parts of tbdiag hand to each other.

msgspec's Struct instead of a dataclass: a class of ten fields is made in a fiftieth of the time,
and a diagnosis imports a hundred of them before it sends its first packet.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import msgspec
from msgspec import field

__all__ = ["Fact", "Record", "field", "field_names", "is_record", "replace"]

T = TypeVar("T")


class Fact(msgspec.Struct, frozen=True):
    """A frozen record: positional and keyword arguments, equality by fields, hashable."""


class Record(msgspec.Struct):
    """A record whose fields may change."""


def replace(record: T, **changes: Any) -> T:
    """A copy of a record (Fact, Record or dataclass) with these fields changed."""
    if isinstance(record, msgspec.Struct):
        return msgspec.structs.replace(record, **changes)
    return dataclasses.replace(record, **changes)  # type: ignore[type-var]


def is_record(value: object) -> bool:
    """Whether `value` is an instance (not a class) of a Fact, a Record or a dataclass."""
    if isinstance(value, msgspec.Struct):
        return True
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def field_names(record: Any) -> tuple[str, ...]:
    """The names of a record's fields, in order."""
    if isinstance(record, msgspec.Struct):
        return record.__struct_fields__
    return tuple(field.name for field in dataclasses.fields(record))
