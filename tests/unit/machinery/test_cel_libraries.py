"""The functions that Kubernetes adds to CEL."""

from __future__ import annotations

import pytest

from cluster.machinery.cel import CompileError, Environment, EvaluationError, Meter, types
from cluster.machinery.cel.library.authorizer import Authorizer, Decision, Query

ENV = Environment({"authorizer": types.Type(Authorizer.type_name)})

TRUE = r"""
[1, 2, 2].isSorted() && ![2, 1].isSorted() && ["a", "b"].isSorted() && [].isSorted()
[1, 2, 3].sum() == 6
[1.5, 2.5].sum() == 4.0
[duration("1s"), duration("2s")].sum() == duration("3s")
[3, 1, 2].min() == 1 && [3, 1, 2].max() == 3 && ["b", "a"].min() == "a"
[1, 2, 2].indexOf(2) == 1 && [1, 2, 2].lastIndexOf(2) == 2 && [1].indexOf(5) == -1
"abc 123".find("[0-9]+") == "123" && "abc".find("[0-9]+") == ""
"1 23 456".findAll("[0-9]+") == ["1", "23", "456"] && "1 23".findAll("[0-9]+", 1) == ["1"]
url("https://user@h.example:80/a%20b?x=1&x=2&y=").getScheme() == "https"
url("https://h.example:80/").getHost() == "h.example:80"
url("https://[::1]:80/").getHostname() == "::1"
url("https://h.example:80/").getPort() == "80" && url("https://h/").getPort() == ""
url("https://h/a b".replace(" ", "%20")).getEscapedPath() == "/a%20b"
url("https://h/?x=1&x=2&y=").getQuery() == {"x": ["1", "2"], "y": [""]}
isURL("https://h") && isURL("/path") && !isURL("h") && !isURL("https://h:port/")
quantity("1Ki").isGreaterThan(quantity("1k")) && quantity("1k").isLessThan(quantity("1Ki"))
quantity("1000m") == quantity("1") && quantity("1").compareTo(quantity("2")) == -1
quantity("1k").add(quantity("1")).asInteger() == 1001 && quantity("5").sub(2).asInteger() == 3
quantity("50k").isInteger() && !quantity("50m").isInteger() && quantity("-1").sign() == -1
quantity("1500m").asApproximateFloat() == 1.5
isQuantity("10Mi") && !isQuantity("10Mo")
ip("10.0.0.1").family() == 4 && ip("::1").family() == 6 && ip("::1").isLoopback()
isIP("10.0.0.1") && !isIP("10.0.0.256") && !isIP("::ffff:1.2.3.4")
ip.isCanonical("::1") && !ip.isCanonical("::0:1")
ip("10.0.0.1").isGlobalUnicast()
ip("0.0.0.0").isUnspecified()
ip("169.254.1.1").isLinkLocalUnicast()
ip("224.0.0.1").isLinkLocalMulticast()
string(ip("10.0.0.1")) == "10.0.0.1"
ip("::1") == ip("0:0::1")
cidr("10.0.0.0/8").containsIP("10.1.2.3") && cidr("10.0.0.0/8").containsIP(ip("10.1.2.3"))
cidr("10.0.0.0/8").containsCIDR("10.1.0.0/16")
!cidr("10.1.0.0/16").containsCIDR(cidr("10.0.0.0/8"))
cidr("10.1.2.3/8").masked() == cidr("10.0.0.0/8") && cidr("10.1.2.3/8").ip() == ip("10.1.2.3")
cidr("10.0.0.0/8").prefixLength() == 8
string(cidr("10.1.2.3/8")) == "10.1.2.3/8"
!isCIDR("10.0.0.0")
!format.dns1123Label().validate("good-name").hasValue()
format.dns1123Label().validate("Bad").value()[0].startsWith("a lowercase RFC 1123 label")
format.named("labelValue").hasValue() && !format.named("nope").hasValue()
!format.named("uuid").value().validate("123e4567-e89b-12d3-a456-426614174000").hasValue()
sets.contains([1, 2, 3], [2]) && sets.equivalent([1, 1, 2], [2, 1]) && sets.intersects([1], [1, 2])
!sets.intersects([1], [2]) && sets.contains([1], [])
"hello".charAt(1) == "e" && "hello".charAt(5) == ""
"hello".indexOf("l") == 2 && "hello".indexOf("l", 3) == 3 && "hello".indexOf("z") == -1
"hello".lastIndexOf("l") == 3 && "hello".lastIndexOf("l", 2) == 2
["a", "b"].join() == "ab" && ["a", "b"].join("-") == "a-b"
"HeLLo É".lowerAscii() == "hello É" && "hi é".upperAscii() == "HI é"
"aaa".replace("a", "b") == "bbb"
"aaa".replace("a", "b", 2) == "bba"
"ab".replace("", "_") == "_a_b_"
"a,b,c".split(",") == ["a", "b", "c"]
"a,b,c".split(",", 2) == ["a", "b,c"]
"ab".split("") == ["a", "b"]
"a,b".split(",", 0) == [] && "a,b".split(",", 1) == ["a,b"]
"hello".substring(1) == "ello" && "hello".substring(1, 3) == "el"
" \t x \n".trim() == "x"
"%s is %d and %.2f".format(["a", 7, 1.005]) == "a is 7 and 1.00"
"%b %o %x %X %e%%".format([5, 8, 255, 255, 1200.0]) == "101 10 ff FF 1.200000e+03%"
"%s %s %s".format([[1, "a"], {"b": true, "a": 1.5}, null]) == "[1, a] {a: 1.5, b: true} null"
strings.quote("a\"b\n") == "\"a\\\"b\\n\""
semver("1.2.3").isLessThan(semver("1.10.0")) && semver("1.0.0-alpha").isLessThan(semver("1.0.0"))
semver("v1.2", true).minor() == 2
isSemver("1.2.3")
!isSemver("1.2")
semver("1.0.0-a.2").compareTo(semver("1.0.0-a.10")) == -1
"""

WRONG = {
    "[].min()": "min called on empty list",
    "'abc'.charAt(9)": "index out of range: 9",
    "'abc'.substring(2, 1)": "invalid substring range. start: 2, end: 1",
    "'%d'.format(['x'])": "error during formatting: decimal clause can only be used on integers, "
    "was given string",
    "'%s %s'.format([1])": "index 1 out of range",
    "'%y'.format([1])": 'could not parse formatting clause: unrecognized formatting clause "y"',
    "quantity('x')": "quantities must match the regular expression "
    "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    "quantity('1.5').asInteger()": "cannot convert value to integer",
    "'a'.find('(')": "error parsing regexp: missing ): (",
}


@pytest.mark.parametrize("source", TRUE.strip().split("\n"))
def test_it_is_true(source: str) -> None:
    assert ENV.compile(source).evaluate({}) is True


@pytest.mark.parametrize(("source", "said"), WRONG.items())
def test_there_is_no_value(source: str, said: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        ENV.compile(source).evaluate({})
    assert str(caught.value) == said


@pytest.mark.parametrize("source", ["['a'].sum()", "[dyn(1)].map(x, x).nope()", "1.isSorted()"])
def test_types_keep_functions_from_what_they_cannot_take(source: str) -> None:
    with pytest.raises(CompileError):
        ENV.compile(source)


def test_the_authorizer_is_asked_what_the_expression_says_and_each_check_is_dear() -> None:
    asked: list[Query] = []

    def decide(query: Query) -> Decision:
        asked.append(query)
        return Decision(query.verb == "create", "because")

    source = (
        "authorizer.group('apps').resource('deployments').subresource('scale').namespace('ns')"
        ".name('web').check('create').allowed() && "
        "authorizer.serviceAccount('ns', 'sa').path('/metrics').check('get').reason() == 'because'"
    )
    meter = Meter(1_000_000)
    found = ENV.compile(source).evaluate({"authorizer": Authorizer(decide)}, meter)
    assert found is True
    assert asked == [
        Query("create", group="apps", resource="deployments", subresource="scale",
              namespace="ns", name="web"),
        Query("get", path="/metrics", service_account=("ns", "sa")),
    ]  # fmt: skip
    assert meter.spent > 700_000
