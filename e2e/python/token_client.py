"""An issuer of tokens (PyJWT) with its keys behind https, its callers, and those who would like to be.

`--target`: a gateway whose listener believes `https://idp.test` with the keys at
`https://localhost:PORT/keys`, has a route for `Echo` and one for `/hello`, both with `auth: jwt`. `--port`: PORT.
`--certificate`, `--key`: for the server of the keys.
"""

import argparse
import base64
import hashlib
import hmac
import http.client
import http.server
import json
import ssl
import threading
import time

import grpc
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from report import DEADLINE, Report, equal, finish, until

PING = "/pigeon.demo.v1.Echo/Ping"
ISSUER = "https://idp.test"
CALLERS = 4
OK = grpc.StatusCode.OK
RSA = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]


class Issuer:
    """Keys by name, those of them that are published, and the server that publishes them."""

    def __init__(self, port, certificate, key):
        self.keys = {}
        self.published = []
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802 - the library's name
                body = json.dumps({"keys": issuer.published}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def make(self, kid, algorithm):
        if algorithm in RSA:
            self.keys[kid] = rsa.generate_private_key(65537, 2048)
        elif algorithm == "ES256":
            self.keys[kid] = ec.generate_private_key(ec.SECP256R1())
        elif algorithm == "ES384":
            self.keys[kid] = ec.generate_private_key(ec.SECP384R1())
        else:
            self.keys[kid] = ed25519.Ed25519PrivateKey.generate()

    def publish(self, *kids):
        self.published = [self.jwk(kid) for kid in kids]

    def jwk(self, kid):
        key = self.keys[kid].public_key()
        if isinstance(key, rsa.RSAPublicKey):
            algorithm = jwt.algorithms.RSAAlgorithm
        elif isinstance(key, ec.EllipticCurvePublicKey):
            algorithm = jwt.algorithms.ECAlgorithm
        else:
            algorithm = jwt.algorithms.OKPAlgorithm
        jwk = algorithm.to_jwk(key, as_dict=True)
        jwk.pop("key_ops", None)
        return {**jwk, "kid": kid, "use": "sig"}

    def token(self, kid, algorithm, headers=None, **changes):
        claims = {k: v for k, v in {**claims_now(), **changes}.items() if v is not None}
        headers = {"kid": kid, **(headers or {})}
        return jwt.encode(claims, self.keys[kid], algorithm=algorithm, headers=headers)


def claims_now():
    return {"iss": ISSUER, "aud": "pigeon", "sub": "ann", "exp": int(time.time()) + 600}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header, claims, sign):
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(sign(signed.encode()))}"


class Caller:
    """Asks by gRPC and by HTTP."""

    def __init__(self, target):
        self.target = target
        self.ping = grpc.insecure_channel(target).unary_unary(PING)

    def grpc(self, token):
        try:
            self.ping(b"", timeout=DEADLINE, metadata=[("authorization", f"Bearer {token}")])
        except grpc.RpcError as error:
            if token and token in error.details():
                raise AssertionError("the answer repeats the token") from error
            return error.code()
        return OK

    def http(self, *tokens):
        """The status, `www-authenticate` and the reason."""
        connection = http.client.HTTPConnection(self.target, timeout=DEADLINE)
        connection.putrequest("GET", "/hello")
        for token in tokens:
            connection.putheader("authorization", f"Bearer {token}")
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        if any(token and token in body for token in tokens):
            raise AssertionError("the answer repeats the token")
        return (
            answer.status,
            answer.getheader("www-authenticate"),
            answer.getheader("pigeon-reason"),
        )


def attacks(issuer):
    """What somebody would try who knows everything but the private keys."""
    good = issuer.token("rsa", "RS256")
    head, body, signature = good.split(".")
    public = issuer.keys["rsa"].public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    modulus = base64.urlsafe_b64decode(issuer.jwk("rsa")["n"] + "==")
    admin = {**claims_now(), "sub": "admin"}
    own = Issuer.__new__(Issuer)
    own.keys = {}
    own.make("rsa", "RS256")
    now = int(time.time())

    def hs256(secret):
        sign = lambda signed: hmac.new(secret, signed, hashlib.sha256).digest()  # noqa: E731
        return by_hand({"alg": "HS256", "kid": "rsa"}, admin, sign)

    yield "none", jwt.encode(admin, None, algorithm="none", headers={"kid": "rsa"})
    yield "None", by_hand({"alg": "None", "kid": "rsa"}, admin, lambda _: b"")
    yield "no signature", f"{head}.{body}."
    yield "HS256 with the public key", hs256(pem)
    yield "HS256 with the modulus", hs256(modulus)
    yield "HS256 with nothing", hs256(b"")
    yield "another body", f"{head}.{b64(json.dumps(admin).encode())}.{signature}"
    yield "own key", own.token("rsa", "RS256")
    yield "own key in the header", own.token("rsa", "RS256", {"jwk": own.jwk("rsa")})
    yield "own key elsewhere", own.token("rsa", "RS256", {"jku": "https://localhost:1/keys"})
    yield "another algorithm", by_hand({"alg": "ES256", "kid": "rsa"}, admin, lambda _: b"\0" * 64)
    yield "an empty ES256", by_hand({"alg": "ES256", "kid": "p256"}, admin, lambda _: b"\0" * 64)
    yield "crit", issuer.token("rsa", "RS256", {"crit": ["exp"]})
    yield "wrong aud", issuer.token("rsa", "RS256", aud="others")
    yield "no aud", issuer.token("rsa", "RS256", aud=None)
    yield "wrong iss", issuer.token("rsa", "RS256", iss="https://idp.test.evil")
    yield "expired", issuer.token("rsa", "RS256", exp=now - 61)
    yield "no exp", issuer.token("rsa", "RS256", exp=None)
    yield "not yet", issuer.token("rsa", "RS256", nbf=now + 600)
    yield "no sub", issuer.token("rsa", "RS256", sub=None)
    yield "huge", issuer.token("rsa", "RS256", padding="x" * 20_000)
    yield "no token", "nothing"
    yield "dots", "..."


def unknown_kids(issuer):
    for kid in ["../../../dev/null", "rsa' OR '1'='1", "rsa\u0000", "/etc/passwd", "x" * 2_000]:
        yield kid, issuer.token("rsa", "RS256", {"kid": kid})


class Load:
    """Callers without a pause; what they bring may be changed."""

    def __init__(self, caller, token):
        self.caller, self.token, self.stop = caller, token, threading.Event()
        self.calls, self.failures = 0, []
        self.threads = [threading.Thread(target=self.run) for _ in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stop.is_set():
            code = self.caller.grpc(self.token)
            self.calls += 1
            if code != OK:
                self.failures.append(code)

    def goes_on(self):
        before = self.calls
        until("calls go on", lambda: self.calls > before + 50)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        equal(self.failures, [])


def rotate(issuer, caller):
    """A new key is published, signs once the gateway has it, and the old one goes: no call fails."""
    load = Load(caller, issuer.token("rsa", "RS256"))
    try:
        load.goes_on()
        issuer.make("new", "ES256")
        issuer.publish("new", "rsa")
        new, seen = issuer.token("new", "ES256"), set()

        def taken():
            code = caller.grpc(new)
            seen.add(code)
            return code == OK

        until("the new key is known", taken)
        # Nobody whose key may only be new is told to give up.
        equal(seen - {OK, grpc.StatusCode.UNAVAILABLE}, set())
        load.token = new
        load.goes_on()
        issuer.publish("new")
        # Whoever names a key that nobody has makes the gateway look.
        issuer.keys["gone"] = issuer.keys["rsa"]
        gone, old = issuer.token("gone", "RS256"), issuer.token("rsa", "RS256", n=1)
        until("the old key is forgotten", lambda: (caller.grpc(gone), caller.grpc(old))[1] != OK)
        load.goes_on()
    finally:
        load.end()
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED
    until("the old key is known to be gone", lambda: caller.grpc(old) == unauthenticated)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    arguments = parser.parse_args()
    report = Report(arguments.target)
    issuer = Issuer(arguments.port, arguments.certificate, arguments.key)
    kinds = {"rsa": "RS256", "p256": "ES256", "p384": "ES384", "ed": "EdDSA"}
    for kid, algorithm in kinds.items():
        issuer.make(kid, algorithm)
    issuer.publish(*kinds)
    caller = Caller(arguments.target)
    good = (200, None, None)
    known = lambda: caller.http(issuer.token("rsa", "RS256")) == good  # noqa: E731
    report.check("the keys are fetched", until, "a token is good", known)
    for kid, algorithm in [("rsa", a) for a in RSA] + list(kinds.items())[1:]:
        token = issuer.token(kid, algorithm)
        report.check(f"{algorithm} by HTTP", lambda: equal(caller.http(token), good))
        for n in range(2):
            report.check(f"{algorithm} by gRPC {n}", lambda: equal(caller.grpc(token), OK))
    invalid = (401, 'Bearer error="invalid_token"', "unauthenticated")
    for name, token in attacks(issuer):
        report.check(f"{name} by HTTP", lambda: equal(caller.http(token), invalid))
        wanted = grpc.StatusCode.UNAUTHENTICATED
        report.check(f"{name} by gRPC", lambda: equal(caller.grpc(token), wanted))
    for kid, token in unknown_kids(issuer):
        refused = lambda: equal(caller.http(token)[0] in (401, 503), True)  # noqa: E731
        report.check(f"kid {kid[:20]!r}", refused)
    missing = (401, "Bearer", "unauthenticated")
    report.check("no token", lambda: equal(caller.http(), missing))
    token = issuer.token("rsa", "RS256")
    report.check("two", lambda: equal(caller.http(token, token), invalid))
    report.check("two, one bad", lambda: equal(caller.http(token, "x.y.z"), invalid))
    report.check("the keys are rotated under load", rotate, issuer, caller)
    finish(report)


if __name__ == "__main__":
    main()
