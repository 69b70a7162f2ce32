"""What a pickle of ``torch.save`` describes, without running it.

The opcodes are walked one by one. A name (``GLOBAL``) is a token and nothing is imported; ``REDUCE`` and ``NEWOBJ``
make plain records, of the few names that tensors need; every other name and opcode is refused. No method of an object
is called, so that a pickle that was made to run something runs nothing.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from caa_registry.errors import one_line
from caa_registry.formats.vector_file import VectorFile

LARGEST = 1 << 22
_MOST_OPCODES = 200_000
_REBUILD = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_ORDERED = "collections OrderedDict"
_STEERING_VECTORS = ("steering_vectors.steering_vector SteeringVector", "steering_vectors SteeringVector")
STORAGES: Mapping[str, str] = {
    "torch FloatStorage": "float32",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
    "torch DoubleStorage": "float64",
}
_ALLOWED = {_REBUILD, _PARAMETER, _ORDERED, *_STEERING_VECTORS, *STORAGES}
_DEVICE = re.compile(r"(?:cpu|cuda|mps|xpu|hpu|npu|xla)(?::[0-9]{1,3})?")
_NO_CODE = "Load it where you trust it, and torch.save the dict of its tensors."


@dataclass(frozen=True)
class Storage:
    """Numbers of one type that stand in the entry ``data/<key>`` of the archive."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True)
class SavedTensor:
    """A view of a storage. ``strides`` count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class SavedObject:
    """An object of steering-vectors: its attributes."""

    attributes: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Name:
    text: str


_MARK = object()


def described(file: VectorFile, data: bytes, field: str) -> Any:
    """The object that a pickle describes: dicts, lists, tuples, texts, numbers, ``SavedTensor``, ``SavedObject``.

    Raises ``InputError`` for a pickle that is cut or broken, and for one that names or does anything else.
    """
    if len(data) > LARGEST:
        raise file.error(f"its pickle has {len(data):,} bytes, more than {LARGEST:,}", field=field)
    machine = _Machine(file, field)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > _MOST_OPCODES:
                raise file.error(f"its pickle has more than {_MOST_OPCODES:,} steps", field=field)
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        # What is missing on the stack, an argument of another type, a key that cannot be one: a pickle like no other.
        raise file.error(
            f"its pickle is damaged: {one_line(str(error), 200)}", "Fetch the file again.", field=field
        ) from error
    return machine.result()


class _Machine:
    def __init__(self, file: VectorFile, field: str) -> None:
        self._file = file
        self._field = field
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._stopped = False

    def result(self) -> Any:
        if not self._stopped or len(self._stack) != 1 or self._stack[0] is _MARK:
            raise self._file.error("its pickle is damaged: it leaves no object", field=self._field)
        return self._stack[0]

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode]())
        elif opcode in _ARGUMENTS:
            self._stack.append(argument)
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        elif opcode not in _NOTHING:
            raise self._file.error(
                f"its pickle holds the step {opcode}, which no tensor needs", _NO_CODE, field=self._field
            )

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def _to_mark(self) -> list[Any]:
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("no mark")
        values = self._stack[place + 1 :]
        del self._stack[place:]
        return values

    def _name(self, text: str) -> None:
        if text not in _ALLOWED:
            raise self._file.error(
                f"its pickle names {one_line(text.replace(' ', '.'), 120)}, which could run code; nothing was run",
                _NO_CODE,
                field=self._field,
            )
        self._stack.append(_Name(text))

    def stop(self, _: Any) -> None:
        self._stopped = True

    def mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def to_list(self, _: Any) -> None:
        self._stack.append(self._to_mark())

    def to_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._to_mark()))

    def to_dict(self, _: Any) -> None:
        values = self._to_mark()
        self._stack.append({})
        self._set(values)

    def short_tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._stack.append(tuple(reversed(values)))

    def append(self, _: Any) -> None:
        self._extend([self._pop()])

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise ValueError("items for what is no list")
        target.extend(values)

    def set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _set(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise ValueError("keys and values for what is no dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) not in (str, int):
                raise ValueError("a key that is neither text nor number")
            if key in target:
                raise self._file.error("a dict has this key twice", "The file is damaged.", field=str(key))
            target[key] = value

    def put(self, place: int) -> None:
        value = self._stack[-1]
        if value is _MARK:
            raise ValueError("a mark that is remembered")
        self._memo[place] = value

    def memoize(self, _: Any) -> None:
        self.put(len(self._memo))

    def get(self, place: int) -> None:
        self._stack.append(self._memo[place])

    def global_name(self, argument: str) -> None:
        self._name(argument)

    def stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name that is no text")
        self._name(f"{module} {name}")

    def persistent(self, _: Any) -> None:
        match self._pop():
            case ("storage", _Name(text), str(key), str(device), int(count)) if (
                text in STORAGES and _DEVICE.fullmatch(device) and count >= 0
            ):
                self._stack.append(Storage(STORAGES[text], key, count))
            case _:
                raise ValueError("a reference to something else than a storage")

    def reduce(self, _: Any) -> None:
        arguments, called = self._pop(), self._pop()
        match called, arguments:
            case _Name(text), (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_) if text == _REBUILD:
                if not all(type(number) is int for number in (*shape, *strides)) or len(shape) != len(strides):
                    raise ValueError("a shape that is none")
                self._stack.append(SavedTensor(storage, offset, shape, strides))
            case _Name(text), (SavedTensor() as tensor, *_) if text == _PARAMETER:
                self._stack.append(tensor)
            case _Name(text), () if text == _ORDERED:
                self._stack.append({})
            case _Name(text), ([*pairs],) if text == _ORDERED:
                self._stack.append({})
                for pair in pairs:
                    if type(pair) not in (list, tuple) or len(pair) != 2:
                        raise ValueError("an item of a dict that is no pair")
                    self._set(list(pair))
            case _:
                raise self._file.error(
                    "its pickle calls something that no tensor needs; nothing was run", _NO_CODE, field=self._field
                )

    def new_object(self, _: Any) -> None:
        arguments, called = self._pop(), self._pop()
        if not isinstance(called, _Name) or called.text not in _STEERING_VECTORS or arguments != ():
            raise self._file.error(
                "its pickle makes an object that no vector needs; nothing was run", _NO_CODE, field=self._field
            )
        self._stack.append(SavedObject())

    def build(self, _: Any) -> None:
        state, target = self._pop(), self._stack[-1]
        if type(state) is not dict or type(target) not in (SavedObject, dict):
            raise self._file.error(
                "its pickle sets the state of something that is no vector; nothing was run", _NO_CODE, field=self._field
            )
        if type(target) is SavedObject:
            target.attributes.update(state)  # a dict's own attributes, such as _metadata, say nothing of its tensors

    def pop(self, _: Any) -> None:
        self._stack.pop()


_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_ARGUMENTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
}
_NOTHING = {"PROTO", "FRAME"}
_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "STOP": _Machine.stop,
    "POP": _Machine.pop,
    "MARK": _Machine.mark,
    "LIST": _Machine.to_list,
    "TUPLE": _Machine.to_tuple,
    "DICT": _Machine.to_dict,
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "APPEND": _Machine.append,
    "APPENDS": lambda machine, _: machine._extend(machine._to_mark()),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine, _: machine._set(machine._to_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "MEMOIZE": _Machine.memoize,
    "GLOBAL": _Machine.global_name,
    "STACK_GLOBAL": _Machine.stack_global,
    "BINPERSID": _Machine.persistent,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new_object,
    "BUILD": _Machine.build,
}
