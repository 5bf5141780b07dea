"""A YAML file with the place of every key and value, whatever is wrong with it."""

from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StreamMark
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from pipeline.base.errors import UserError, one_line, printable
from pipeline.base.params import trap, yaml_text

Keys = tuple[str | int, ...]
"""Where a value is: names of mappings and numbers of lists, from the outermost."""


class Fault(NamedTuple):
    """Something wrong at a place of a file; faults sort by place."""

    line: int
    """From 1."""
    column: int
    """From 1."""
    sentence: str

    def at(self, path: Path) -> str:
        """Place and sentence on one line, as compilers write them."""
        return printable(f"{path}:{self.line}:{self.column}: {self.sentence}")


class Document:
    """A YAML file that was read.

    Args:
        path: The file.

    Raises:
        UserError: It cannot be read, is too large, or is not UTF-8.

    Attributes:
        content: Its value; None if it is no YAML or must not be loaded, which a fault says.
        faults: What is wrong with its YAML: syntax, a name that stands twice in a mapping.

    """

    def __init__(self, path: Path) -> None:
        text = yaml_text(path)
        self.content: Any = None
        self.faults: list[Fault] = []
        self._keys: dict[Keys, StreamMark] = {}
        self._values: dict[Keys, StreamMark] = {}
        try:
            if wrong := trap(text):
                line, _, said = wrong.removeprefix("line ").partition(": ")
                self.faults.append(Fault(int(line), 1, said))
                return
            self._look(YAML(pure=True).compose(text), ())
            yaml = YAML(typ="safe", pure=True)
            yaml.allow_duplicate_keys = True
            self.content = yaml.load(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark
            said = ", ".join(part for part in (error.context, error.problem) if part)
            row, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self.faults.append(Fault(row, column, f"is not valid YAML: {said}"))
        except Exception as error:  # errors of int, date and dict come through the library
            raise UserError(f"{path}: is not valid YAML: {one_line(error, 300)}") from error

    def _look(self, node: Node | None, keys: Keys) -> None:
        """Keep the places in a node."""
        if isinstance(node, MappingNode):
            for key, value in node.value:
                self._look_at_key(key, value, (*keys, str(key.value)))
        elif isinstance(node, SequenceNode):
            for number, value in enumerate(node.value):
                self._values[(*keys, number)] = value.start_mark
                self._look(value, (*keys, number))

    def _look_at_key(self, key: Node, value: Node, keys: Keys) -> None:
        if keys in self._keys:
            line = self._keys[keys].line + 1
            name = ".".join(map(str, keys))
            self.faults.append(_fault(key.start_mark, f"{name} stands on line {line} already"))
            return
        self._keys[keys], self._values[keys] = key.start_mark, value.start_mark
        self._look(value, keys)

    def inside(self, keys: Keys) -> Keys:
        """The part of some keys that the file has, from the outermost."""
        known = 0
        while known < len(keys) and keys[: known + 1] in self._values:
            known += 1
        return keys[:known]

    def fault(self, keys: Keys, sentence: str, of_key: bool = False) -> Fault:
        """A fault at a value, or where it is missing at the key of the mapping around it.

        Args:
            keys: Where the value is.
            sentence: What is wrong.
            of_key: The key itself is wrong, not its value.

        """
        there = self.inside(keys)
        if not there:
            return Fault(1, 1, sentence)
        of_key = of_key or there != keys
        mark = (self._keys if of_key and there in self._keys else self._values)[there]
        return _fault(mark, sentence)


def _fault(mark: StreamMark, sentence: str) -> Fault:
    return Fault(mark.line + 1, mark.column + 1, sentence)
