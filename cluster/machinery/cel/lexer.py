"""From text to tokens (the language definition's "Syntax")."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cluster.machinery.cel.errors import CompileError, Issue
from cluster.machinery.cel.values import MAX_INT, MIN_INT, UInt

MAX_LENGTH = 100_000
"""Code points, as cel-go's parser takes."""

_SPACE = re.compile(r"(?:[\t\n\f\r ]+|//[^\n]*)+")
_NUMBER = re.compile(
    r"(?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<int>0x[0-9a-fA-F]+|\d+)(?P<unsigned>[uU])?"
)
_IDENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STRING = re.compile(r"""(?P<prefix>[bBrR]{0,2})(?P<quote>\"\"\"|'''|\"|')""")
_OPERATOR = re.compile(r"==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()\[\]{}]")
_ESCAPE = re.compile(r"\\(?:[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|.)",
                     re.DOTALL)  # fmt: skip
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
          "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """`kind`: ident, constant, end, or the operator itself."""

    kind: str
    position: int
    text: str
    value: Any = None


def tokens(source: str) -> list[Token]:
    """All tokens and an end. Raises CompileError."""
    if len(source) > MAX_LENGTH:
        text = f"expression code point size exceeds limit: size: {len(source)}, limit {MAX_LENGTH}"
        raise CompileError([Issue(0, text)], source[:80])
    found: list[Token] = []
    at = 0
    while True:
        space = _SPACE.match(source, at)
        at = space.end() if space else at
        if at >= len(source):
            found.append(Token("end", at, "<EOF>"))
            return found
        token = _next(source, at)
        found.append(token)
        at += len(token.text)


def fail(source: str, position: int, message: str) -> CompileError:
    return CompileError([Issue(position, f"Syntax error: {message}")], source)


def _next(source: str, at: int) -> Token:
    string = _STRING.match(source, at)
    if string is not None and len(set(string["prefix"].lower())) == len(string["prefix"]):
        return _string(source, at, string)
    number = _NUMBER.match(source, at)
    if number is not None:
        return _number(source, at, number)
    ident = _IDENT.match(source, at)
    if ident is not None:
        return Token("ident", at, ident.group())
    operator = _OPERATOR.match(source, at)
    if operator is not None:
        return Token(operator.group(), at, operator.group())
    raise fail(source, at, f"token recognition error at: '{source[at]}'")


def _number(source: str, at: int, match: re.Match[str]) -> Token:
    text = match.group()
    if match["double"] is not None:
        value: Any = float(text)
        if value in (float("inf"), float("-inf")):
            raise CompileError([Issue(at, "invalid double literal")], source)
        return Token("constant", at, text, value)
    digits = match["int"]
    if len(digits) > 30:
        raise CompileError([Issue(at, "invalid int literal")], source)
    whole = int(digits, 16) if digits.startswith("0x") else int(digits)
    if match["unsigned"]:
        if whole >= 2**64:
            raise CompileError([Issue(at, "invalid uint literal")], source)
        return Token("constant", at, text, UInt(whole))
    return Token("constant", at, text, whole)


def check_int(source: str, position: int, value: int) -> int:
    """A literal with its sign. Raises CompileError."""
    if not MIN_INT <= value <= MAX_INT:
        raise CompileError([Issue(position, "invalid int literal")], source)
    return value


def _string(source: str, at: int, match: re.Match[str]) -> Token:
    prefix, quote = match["prefix"].lower(), match["quote"]
    start = match.end()
    end = _end_of_string(source, start, quote, "r" in prefix)
    if end < 0:
        raise fail(source, at, f"token recognition error at: '{source[at : at + 20]}'")
    body = source[start:end]
    text = source[at : end + len(quote)]
    if "b" in prefix:
        return Token("constant", at, text, _bytes(source, at, body, "r" in prefix))
    return Token("constant", at, text, body if "r" in prefix else _text(source, at, body))


def _end_of_string(source: str, at: int, quote: str, raw: bool) -> int:
    """The place of the closing quotes, or -1."""
    while at < len(source):
        if source.startswith(quote, at):
            return at
        if len(quote) == 1 and source[at] in "\r\n":
            return -1
        at += 2 if source[at] == "\\" and not raw else 1
    return -1


def _text(source: str, at: int, body: str) -> str:
    def unescape(match: re.Match[str]) -> str:
        code = match.group()[1:]
        if code in _PLAIN:
            return _PLAIN[code]
        if code[0] in "xXuU" and len(code) > 1:
            return _character(source, at, int(code[1:], 16))
        if len(code) == 3:
            return _character(source, at, int(code, 8))
        raise CompileError([Issue(at, "unable to unescape string")], source)

    return _ESCAPE.sub(unescape, body)


def _character(source: str, at: int, code: int) -> str:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise CompileError([Issue(at, "unable to unescape string")], source)
    return chr(code)


def _bytes(source: str, at: int, body: str, raw: bool) -> bytes:
    if raw:
        return _utf8(source, at, body)
    out, last = b"", 0
    for match in _ESCAPE.finditer(body):
        out += _utf8(source, at, body[last : match.start()])
        last = match.end()
        code = match.group()[1:]
        if code in _PLAIN:
            out += _PLAIN[code].encode()
        elif code[0] in "xX" and len(code) == 3:
            out += bytes([int(code[1:], 16)])
        elif len(code) == 3:
            out += bytes([int(code, 8)])
        else:
            raise CompileError([Issue(at, "unable to unescape string")], source)
    return out + _utf8(source, at, body[last:])


def _utf8(source: str, at: int, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise CompileError([Issue(at, "invalid UTF-8 in literal")], source) from None
