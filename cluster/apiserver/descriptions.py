"""What fields are for, in the words of an installed client library: `kubectl explain` shows it.

The schema tables have no prose. The official Python client's models have, so where that package is
installed its files are read, never imported: that would take seconds. Without it explain shows
types only.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

_LIBRARY = "kubernetes"
_TEXT = r'"((?:[^"\\\n]|\\.)*)"'
_FIELD = re.compile(rf"^    (\w+): .*\bField\(.*?\bdescription={_TEXT}", re.M)
_CLASS = re.compile(r'^class \w+\(BaseModel\):\n    """\n    (.*?)\n', re.M)
_SETTER = re.compile(r'"""Sets the (\w+) of this \w+\.\n\n +(.*?)  # noqa: E501\n', re.S)
_NAMES = re.compile(r"^ +[\"'](\w+)[\"']: [\"']([^\"']+)[\"']", re.M)


@dataclass(frozen=True, slots=True)
class Description:
    """Of a type and, by their names in JSON, of its fields."""

    text: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


NOTHING = Description()


class Descriptions:
    """Texts of the types of the API, as far as the library has them."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or _installed()
        self._known: dict[Path, Description] = {}

    def of(self, type_name: str) -> Description:
        """`type_name` as in the tables: "k8s.io.api.core.v1.Pod"."""
        *_, group, version, kind = type_name.split(".")
        for name in (group + version + kind, version + kind):
            file = self._files.get(name.lower())
            if file is not None:
                return self._read(file)
        return NOTHING

    def _read(self, file: Path) -> Description:
        found = self._known.get(file)
        if found is None:
            found = self._known[file] = _read(file)
        return found

    @cached_property
    def _files(self) -> dict[str, Path]:
        """By their names without underscores."""
        if self._folder is None or not self._folder.is_dir():
            return {}
        return {file.stem.replace("_", ""): file for file in self._folder.glob("*.py")}


def _installed() -> Path | None:
    spec = importlib.util.find_spec(_LIBRARY)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "client" / "models"


def _read(file: Path) -> Description:
    """Both forms that the generators of the library have written."""
    source = file.read_text()
    names = dict(_NAMES.findall(source[source.find("attribute_map") :]))
    found = {name: _literal(text) for name, text in _FIELD.findall(source)}
    found |= {name: " ".join(text.split()) for name, text in _SETTER.findall(source)}
    about = _CLASS.search(source)
    return Description(
        about.group(1).strip() if about else "",
        {names.get(name, name): text for name, text in found.items()},
    )


def _literal(text: str) -> str:
    try:
        return str(ast.literal_eval(f'"{text}"'))
    except (SyntaxError, ValueError):
        return text
