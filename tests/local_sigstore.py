"""A sigstore of this machine: identity provider, certificate authority and transparency logs.

Written from the specifications, not with the library: RFC 6962 (certificate transparency and the
Merkle tree), Fulcio's certificate extensions, Rekor's `dsse` entries, and signed notes.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

WORKFLOW = "acme/shop/.github/workflows/gate.yml@refs/heads/main"
IDENTITY = f"https://github.com/{WORKFLOW}"
ISSUER = "https://token.actions.githubusercontent.com"
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_OLD_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
"""Fulcio writes both: the first in DER, the second as bare text."""
_SCT_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local sigstore")])


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _der(key: ec.EllipticCurvePrivateKey) -> bytes:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, spki)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass
class LocalSigstore:
    """Its services behind one address, and what a client trusts; started by `with`."""

    workflow: str = WORKFLOW
    """What the identity provider says that the job is."""
    broken: Mapping[str, int] = field(default_factory=dict)
    """End of a path → the status with which it is refused."""
    asked: list[str] = field(default_factory=list)
    proposed: list[dict[str, Any]] = field(default_factory=list)
    """What the log was asked to keep."""
    authority: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)
    certificates_log: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)
    log: ec.EllipticCurvePrivateKey = field(default_factory=_new_key)

    def __enter__(self) -> LocalSigstore:
        handler = type("_BoundServices", (_SigstoreHandler,), {"local": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.root = self._make_root()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self) -> dict[str, str]:
        """Return the variables that GitHub sets in a job with `id-token: write`."""
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/token?v=1",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "bearer-7c1",
        }

    def trusted_root(self) -> dict[str, Any]:
        """Return the public keys that a verifier trusts."""
        valid = {"start": "2020-01-01T00:00:00Z"}

        def keys(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            details = {"keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": valid}
            return {
                "baseUrl": self.url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {"rawBytes": _b64(_der(key)), **details},
                "logId": {"keyId": _b64(hashlib.sha256(_der(key)).digest())},
            }

        authority = {
            "subject": {"organization": "local", "commonName": "local sigstore"},
            "uri": self.url,
            "certChain": {"certificates": [{"rawBytes": _b64(_certificate_der(self.root))}]},
            "validFor": valid,
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [keys(self.log)],
            "ctlogs": [keys(self.certificates_log)],
            "certificateAuthorities": [authority],
        }

    def write_trust(self, folder: Path) -> Path:
        """Write a client's configuration, and `root.json` with the public keys alone."""
        service = {
            "url": self.url, "majorApiVersion": 1, "operator": "local",
            "validFor": {"start": "2020-01-01T00:00:00Z"},
        }  # fmt: skip
        signing = {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service], "rekorTlogUrls": [service], "oidcUrls": [], "tsaUrls": [],
            "rekorTlogConfig": {"selector": "ANY"}, "tsaConfig": {"selector": "ANY"},
        }  # fmt: skip
        trust = {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.trusted_root(),
            "signingConfig": signing,
        }
        (folder / "root.json").write_text(json.dumps(self.trusted_root()), encoding="utf-8")
        path = folder / "trust.json"
        path.write_text(json.dumps(trust), encoding="utf-8")
        return path

    def _make_root(self) -> x509.Certificate:
        usage = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
             "key_agreement", "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        public = self.authority.public_key()
        return (
            x509.CertificateBuilder(_NAME, _NAME, public, x509.random_serial_number())
            .not_valid_before(_now() - datetime.timedelta(days=1))
            .not_valid_after(_now() + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self.authority, hashes.SHA256())
        )

    def token(self) -> str:
        """Return what the identity provider says of the job."""
        now = int(_now().timestamp())
        claims = {
            "iss": ISSUER, "aud": "sigstore", "sub": "repo:acme/shop:ref:refs/heads/main",
            "iat": now, "exp": now + 600, "job_workflow_ref": self.workflow,
        }  # fmt: skip
        parts = ({"alg": "RS256", "typ": "JWT"}, claims, "not looked at")
        texts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
        return ".".join(text.rstrip("=") for text in texts)

    def certify(self, token: str, request: x509.CertificateSigningRequest) -> x509.Certificate:
        """Return a certificate of the job that a token names, with the log's word that it has it.

        RFC 6962, 3.2: the log signs the certificate as it was before that word was in it.
        """
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        name = x509.UniformResourceIdentifier(f"https://github.com/{claims['job_workflow_ref']}")
        issuer, now = claims["iss"].encode(), _now()
        builder = (
            x509.CertificateBuilder(
                _NAME, x509.Name([]), request.public_key(), x509.random_serial_number()
            )
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(minutes=10))
            .add_extension(_leaf_usage(), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(_OLD_ISSUER, issuer), critical=False)
            .add_extension(
                x509.UnrecognizedExtension(_ISSUER, b"\x0c" + bytes([len(issuer)]) + issuer),
                critical=False,
            )
        )
        before = builder.sign(self.authority, hashes.SHA256()).tbs_certificate_bytes
        stamp = int(_now().timestamp() * 1000)
        of_issuer = hashlib.sha256(_der(self.authority)).digest()
        length = struct.pack("!I", len(before))[1:]
        signed = struct.pack("!BBQH", 0, 0, stamp, 1) + of_issuer + length + before + b"\0\0"
        signature = _sign(self.certificates_log, signed)
        log_id = hashlib.sha256(_der(self.certificates_log)).digest()
        sct = b"\0" + log_id + struct.pack("!QH", stamp, 0) + b"\x04\x03"
        sct += struct.pack("!H", len(signature)) + signature
        listed = struct.pack("!HH", len(sct) + 2, len(sct)) + sct
        octets = b"\x04" + (b"\x81" if len(listed) > 127 else b"") + bytes([len(listed)]) + listed
        return builder.add_extension(
            x509.UnrecognizedExtension(_SCT_EXTENSION, octets), critical=False
        ).sign(self.authority, hashes.SHA256())

    def keep(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """Return the log's entry of an envelope, which is its second one, with both proofs."""
        self.proposed.append(proposed)
        content = proposed["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        payload = base64.b64decode(envelope["payload"])
        body = json.dumps(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": _sha256_of(content["envelope"].encode()),
                    "payloadHash": _sha256_of(payload),
                    "signatures": [
                        {"signature": envelope["signatures"][0]["sig"],
                         "verifier": content["verifiers"][0]}
                    ],
                },
            },
            separators=(",", ":"),
        ).encode()  # fmt: skip
        log_id = hashlib.sha256(_der(self.log)).digest()
        first = hashlib.sha256(b"\0first").digest()
        root = hashlib.sha256(b"\1" + first + hashlib.sha256(b"\0" + body).digest()).digest()
        note = f"local - 1\n2\n{_b64(root)}\n"
        checkpoint = f"{note}\n\u2014 local {_b64(log_id[:4] + _sign(self.log, note.encode()))}\n"
        promised = {
            "body": _b64(body), "integratedTime": int(_now().timestamp()), "logID": log_id.hex(),
            "logIndex": 1,
        }  # fmt: skip
        promise = json.dumps(promised, separators=(",", ":"), sort_keys=True).encode()
        proof = {
            "logIndex": 1, "treeSize": 2, "hashes": [first.hex()], "rootHash": root.hex(),
            "checkpoint": checkpoint,
        }  # fmt: skip
        signed = _b64(_sign(self.log, promise))
        return {
            "f" * 64: {
                **promised,
                "verification": {"inclusionProof": proof, "signedEntryTimestamp": signed},
            }
        }


def _sha256_of(raw: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(raw).hexdigest()}


def _certificate_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _leaf_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=False, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


class _SigstoreHandler(BaseHTTPRequestHandler):
    local: LocalSigstore

    def do_GET(self) -> None:
        local = self.local
        local.asked.append(self.path)
        if self.headers["Authorization"] != "bearer bearer-7c1":
            self.reply(401, {})
        else:
            self.reply(local.broken.get("token", 200), {"value": local.token()})

    def do_POST(self) -> None:
        local = self.local
        local.asked.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        broken = [code for end, code in local.broken.items() if self.path.endswith(end)]
        if broken:
            self.reply(broken[0], {"message": "refused"})
        elif self.path.endswith("/signingCert"):
            request = x509.load_pem_x509_csr(base64.b64decode(body["certificateSigningRequest"]))
            made = local.certify(self.headers["Authorization"].removeprefix("Bearer "), request)
            pem = [
                one.public_bytes(serialization.Encoding.PEM).decode() for one in (made, local.root)
            ]
            chain = {"certificates": pem}
            self.reply(201, {"signedCertificateEmbeddedSct": {"chain": chain}})
        else:
            self.reply(201, local.keep(body))

    def reply(self, status: int, value: Any) -> None:
        """Send JSON."""
        raw = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *words: object) -> None:
        """Print nothing."""
