"""Calls `json_engine.py` in JSON, and compares every answer with what protobuf's own JSON says.

`--target`: a proxy whose route translates.
"""

import argparse
import http.client
import json
import random
import string

import grpc
from google.protobuf import json_format

from report import DEADLINE, Report, equal, finish

protos = grpc.protos("library.proto")
ECHO = "/acme.library.v1.Library/Echo"


class Gateway:
    def __init__(self, target):
        self.connection = http.client.HTTPConnection(target, timeout=DEADLINE)

    def call(self, method, path, body=None, kind="application/json"):
        """The status, the headers, the text."""
        headers = {} if body is None else {"content-type": kind}
        self.connection.request(method, path, body=body, headers=headers)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()

    def json(self, method, path, body=None, status=200):
        """The answer's JSON, once it has this status."""
        body = body if body is None else json.dumps(body)
        seen, headers, text = self.call(method, path, body)
        if seen != status:
            raise AssertionError(f"{seen}, not {status}: {text}")
        return json.loads(text)


def rules(gateway):
    book = gateway.json("GET", "/v1/shelves/1/books/2")
    equal(book, {"name": "shelves/1/books/2", "genre": "NOVEL", "pageCount": str(2**60)})
    equal(gateway.json("GET", "/v1/books/978-3")["isbn"], "978-3")
    equal(gateway.json("DELETE", "/v1/shelves/1/books/2"), {"name": "shelves/1/books/2"})
    # What is escaped stays one segment, and arrives as what it stands for.
    equal(gateway.json("GET", "/v1/books/a%20b%C3%A4")["isbn"], "a bä")
    made = gateway.json("POST", "/v1/shelves/7/books?request_id=x", {"isbn": "1", "genre": "POETRY"})
    equal(made, {"name": "shelves/7/books/x", "isbn": "1", "genre": "POETRY"})
    changed = gateway.json(
        "PATCH", "/v1/shelves/7/books/x?update_mask=isbn,pageCount", {"boughtAt": "2020-01-02T03:04:05Z"}
    )
    equal(changed["name"], "shelves/7/books/x")
    equal(changed["boughtAt"], "2020-01-02T03:04:05Z")
    equal(changed["tags"], ["isbn", "page_count"])
    equal(gateway.json("GET", "/v1/shelves/1/books/1/tags"), ["a", "b"])
    equal(gateway.json("GET", "/v1/shelves/1/books/2/tags"), [])
    equal(gateway.json("POST", "/v1/shelves/1/books/2:lend", {"time": "86400s"})["pageCount"], "86400")


def streams(gateway):
    path = "/v1/shelves/3/books?page_size=3&genres=NOVEL&genres=2&lent=true"
    status, headers, text = gateway.call("GET", path)
    equal((status, headers["content-type"]), (200, "application/x-ndjson"))
    lines = [json.loads(line) for line in text.splitlines()]
    equal([line["name"] for line in lines], [f"shelves/3/books/{n}" for n in range(3)])
    equal(lines[0]["tags"], ["NOVEL", "POETRY"])
    equal(lines[0]["isbn"], "True")
    equal(gateway.call("GET", "/v1/shelves/3/books")[2], "")
    status, _, text = gateway.call("GET", "/v1/shelves/3/books?pageSize=5&fail_after=2")
    lines = [json.loads(line) for line in text.splitlines()]
    equal((status, len(lines)), (200, 3))
    equal(lines[2], {"error": {"code": 15, "message": "the rest burnt"}})


def statuses(gateway):
    error = gateway.json("GET", "/v1/shelves/1/books/lost", status=404)
    equal(error["code"], 5)
    equal(error["message"], "läßt sich nicht finden: 100 %")
    # A type that this engine alone knows.
    equal(
        error["details"],
        [
            {
                "@type": "type.googleapis.com/acme.library.v1.Missing",
                "what": "shelves/1/books/lost",
                "nearest": ["shelves/1/books/found"],
            }
        ],
    )


def refusals(gateway):
    for method, path, body, status, words in [
        ("GET", "/v1/nothing", None, 404, "no method"),
        ("PUT", "/v1/shelves/1/books/2", "{}", 405, "GET"),
        ("POST", "/acme.library.v1.Library/GetBook", "{}", 404, "no method"),
        ("GET", "/v1/shelves/1/books?page_size=many", None, 400, "page_size"),
        ("GET", "/v1/shelves/1/books?colour=red", None, 400, "colour"),
        ("POST", "/v1/shelves/1/books", '{"isbn": 5}', 400, "book.isbn: invalid type: integer `5`"),
        ("POST", "/v1/shelves/1/books", '{"isbn": "5"}, "parent": "shelves/2"', 400, "trailing"),
        ("POST", ECHO, '{"int32": 2147483648}', 400, "Everything"),
        ("POST", ECHO, '{"genre": "THRILLER"}', 400, "Everything"),
        ("POST", ECHO, '{"text": "a", "book": {}}', 400, "Everything"),
        ("POST", ECHO, '{"at": "yesterday"}', 400, "Everything"),
        ("POST", ECHO, '{"child":' * 500 + "{}" + "}" * 500, 400, "Everything"),
        ("POST", "/acme.library.v1.Library/Upload", "{}", 501, "stream"),
    ]:
        seen, headers, text = gateway.call(method, path, body)
        if seen != status or words not in json.loads(text)["detail"]:
            raise AssertionError(f"{method} {path} {body}: {seen} {text}")
        equal(headers["content-type"], "application/problem+json")
    equal(gateway.call("PUT", "/v1/shelves/1/books/2", "{}")[1]["allow"], "DELETE, GET, PATCH")


def text(rng):
    letters = string.ascii_letters + "\"\\/<>\u0000\u2028é漢😀"
    return "".join(rng.choice(letters) for _ in range(rng.randrange(6)))


def whole(rng, bits, signed):
    low = -(2 ** (bits - 1)) if signed else 0
    return rng.choice([0, 1, low, low + 2**bits - 1, rng.randrange(low, low + 2**bits)])


def book(rng):
    made = protos.Book(name=text(rng), tags=[text(rng) for _ in range(rng.randrange(3))])
    made.page_count = whole(rng, 64, True)
    return made


def everything(rng, depth=0):
    """A message with some of its fields, at random."""
    it = protos.Everything()
    some = lambda: rng.random() < 0.4  # noqa: E731
    for field in it.DESCRIPTOR.fields:
        kind = field.name.rstrip("0123456789")
        if not some() or field.containing_oneof or field.message_type or field.is_repeated:
            continue
        if kind in ("int", "sint", "sfixed", "uint", "fixed"):
            bits = int(field.name[-2:])
            setattr(it, field.name, whole(rng, bits, kind not in ("uint", "fixed")))
    if some():
        it.double = rng.choice([1.5, 1e300, float("inf"), float("-inf"), rng.random()])
    if some():
        it.float = rng.choice([0.1, 1e30, float("inf"), 3.0])
    it.bool, it.string = some(), text(rng)
    it.bytes = rng.randbytes(rng.randrange(5))
    it.genre = rng.choice([0, 1, 2, 77])
    it.numbers.extend(whole(rng, 64, True) for _ in range(rng.randrange(3)))
    it.books.extend(book(rng) for _ in range(rng.randrange(3)))
    it.genres.extend(rng.choice([0, 1, 2]) for _ in range(rng.randrange(3)))
    for _ in range(rng.randrange(3)):
        it.counts[text(rng)] = whole(rng, 64, True)
        it.by_number[whole(rng, 32, True)].CopyFrom(book(rng))
        it.by_truth[some()] = text(rng)
    if some():
        it.maybe = 0
    if rng.random() < 0.7:
        choice = rng.randrange(3)
        if choice == 0:
            it.text = text(rng)
        elif choice == 1:
            it.book.CopyFrom(book(rng))
        else:
            it.nothing = 0
    if some():
        it.at.FromJsonString(rng.choice(["1970-01-01T00:00:00Z", "2024-02-29T12:00:00.000000001Z",
                                         "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"]))
    if some():
        it.span.FromJsonString(rng.choice(["0s", "-1.500s", "315576000000s", "0.000000001s"]))
    if some():
        it.mask.paths.extend(["a_b", "c.d_e"])
    if some():
        it.struct.update({text(rng): rng.choice([None, True, 1.5, "x", [1, {}], {"y": None}])})
    if some():
        it.value.string_value = text(rng)
    if some():
        it.list.extend([1, "a", None, False])
    if some():
        it.wrapped.value = whole(rng, 64, True)
    if some():
        it.wrapped_bytes.value = b"\xff\x00"
    if some():
        it.any.Pack(rng.choice([book(rng), protos.Missing(what="x"), it.at]))
    if some():
        it.renamed = text(rng)
    if depth < 3 and some():
        it.child.CopyFrom(everything(rng, depth + 1))
    return it


def differs(where, seen, wanted):
    """Fails at the first place that is not the same."""
    if isinstance(seen, dict) and isinstance(wanted, dict):
        equal((where, sorted(seen)), (where, sorted(wanted)))
        for name in seen:
            differs(f"{where}/{name}", seen[name], wanted[name])
    elif isinstance(seen, list) and isinstance(wanted, list) and len(seen) == len(wanted):
        for at, (one, other) in enumerate(zip(seen, wanted)):
            differs(f"{where}/{at}", one, other)
    else:
        equal((where, seen), (where, wanted))


def same_as_protobufs(gateway):
    """What protobuf writes is read, and what comes back is what protobuf writes."""
    rng = random.Random(7)
    for _ in range(150):
        message = everything(rng)
        names = rng.random() < 0.5
        sent = json_format.MessageToJson(message, preserving_proto_field_name=names)
        status, _, answer = gateway.call("POST", ECHO, sent.encode())
        if status != 200:
            raise AssertionError(f"{status} {answer}: {sent}")
        differs("", json.loads(answer), json_format.MessageToDict(message))
        if json_format.Parse(answer, protos.Everything()) != message:
            raise AssertionError(f"sent {sent}\ncame back {answer}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    arguments = parser.parse_args()
    report = Report("http.client")
    for check in (rules, streams, statuses, refusals, same_as_protobufs):
        report.check(check.__name__, check, Gateway(arguments.target))
    finish(report)


if __name__ == "__main__":
    main()
