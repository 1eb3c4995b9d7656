"""CEL, the Common Expression Language, as Kubernetes speaks it.

From text to an answer: `parser` (tokens, syntax tree, macros), `checker` (types of every part),
`estimate` (what it may cost at most), `program` (closures that count what they cost). `library`
holds the functions, `declarations` joins both into an environment that names variables.

Belongs here: the language. Does not: what a rule is about (`structural.expressions`, admission).
Everything raises `errors.CelError` and nothing else, whatever the input.
"""

from cluster.machinery.cel.environment import Environment, Variable
from cluster.machinery.cel.errors import CelError, CompileError, CostExceeded, EvaluationError
from cluster.machinery.cel.program import Meter, Program

__all__ = [
    "CelError",
    "CompileError",
    "CostExceeded",
    "Environment",
    "EvaluationError",
    "Meter",
    "Program",
    "Variable",
]
