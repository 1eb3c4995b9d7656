"""What an expression may refer to, and compiling one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster.machinery.cel import checker, parser
from cluster.machinery.cel.functions import Library
from cluster.machinery.cel.library import KUBERNETES
from cluster.machinery.cel.program import Program
from cluster.machinery.cel.types import Type

Variable = tuple[str, Type]


@dataclass(frozen=True)
class Environment:
    """Variables by (maybe qualified) name, and types that `Name{...}` may make."""

    variables: Mapping[str, Type]
    structs: Mapping[str, Type] = field(default_factory=dict)
    library: Library = KUBERNETES

    def compile(self, source: str) -> Program:
        """Parse, check and compile. Raises CompileError."""
        tree = parser.parse(source)
        found = checker.check(tree, source, self.variables, self.structs, self.library)
        return Program(found, source)
