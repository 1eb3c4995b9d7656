"""The table of rows says what the tests do: it is compared with their marks."""

from __future__ import annotations

import ast

from suite import table


def test_the_table_is_what_the_tests_are_marked_with() -> None:
    rows = table.collected()
    again = "run .venv/bin/python tests/behaviour/nodes/suite/table.py"
    assert table.PAGE.read_text() == table.page(rows), again
    assert len({row for row, _ in rows}) >= 150


def test_rows_that_other_folders_show_name_tests_that_exist() -> None:
    for row, test in table.ELSEWHERE.items():
        path, _, name = test.partition("::")
        tree = ast.parse((table.TESTS / path).read_text())
        assert name in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, row
