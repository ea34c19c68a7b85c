"""Keyless attestations: signed by the identity of a CI job, verified without a network.

The services are `tests/local_sigstore.py`; `sigstore_staging.json` is a bundle that GitHub Actions
and sigstore's own staging instance made (sigstore-python's test assets, Apache-2.0).
"""

from __future__ import annotations

import json
import random
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography")

from tests.frozen_runs.outputs import unpack
from tests.local_sigstore import IDENTITY, ISSUER, LocalSigstore
from tunegate.harness.records.errors import MissingExtra, UsageError
from tunegate.harness.records.run_folder import Run
from tunegate.harness.run.sigstore_attestation import make_keyless, verify_keyless
from tunegate.harness.run.statement import canonical_json

STAGING = Path(__file__).with_name("sigstore_staging.json")
BEACON = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/"
    "workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
Signed = tuple[bytes, Path, Run]


@pytest.fixture(scope="module", name="services")
def _services() -> Iterator[LocalSigstore]:
    """Return a sigstore of this machine."""
    pytest.importorskip("sigstore")
    with LocalSigstore() as services:
        yield services


@pytest.fixture(name="job")
def _job(services: LocalSigstore, monkeypatch: pytest.MonkeyPatch) -> LocalSigstore:
    """Be a job of GitHub Actions that may ask for a token."""
    for name, value in services.environment().items():
        monkeypatch.setenv(name, value)
    services.broken = {}
    return services


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a stored run."""
    place = tmp_path_factory.mktemp("stored")
    unpack(place)
    return Run.load(place / "runs" / "undecided_few_cases")


@pytest.fixture(name="signed")
def _signed(job: LocalSigstore, run: Run, tmp_path: Path) -> Signed:
    """Return a signed file, the trusted keys, and the run."""
    made = make_keyless(run, job.write_trust(tmp_path))
    assert (made.identity, made.issuer) == (IDENTITY, ISSUER)
    return made.text.encode(), tmp_path / "root.json", run


def test_it_verifies_without_a_network(signed: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    text, root, run = signed

    def refuse(*words: Any, **more: Any) -> None:
        raise OSError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert verify_keyless(text, IDENTITY, ISSUER, root, "f") == run.verdict
    assert verify_keyless(text, IDENTITY, ISSUER, root.with_name("trust.json"), "f") == run.verdict


def test_the_log_gets_no_text_of_the_run(job: LocalSigstore, signed: Signed) -> None:
    run = signed[2]
    asked = json.dumps(job.proposed[-1])
    texts = [c.completion.text for c in run.cells if c.completion and c.completion.text]
    texts += [row.case.prompt for row in run.cases.values() if row.case.prompt]

    assert texts
    assert [text for text in texts if len(text) > 12 and json.dumps(text)[1:-1] in asked] == []


@pytest.mark.parametrize(
    ("identity", "issuer"),
    [
        (IDENTITY.replace("main", "fork"), ISSUER),
        (IDENTITY.replace("acme", "acne"), ISSUER),
        (IDENTITY[:-1], ISSUER),
        (IDENTITY.upper(), ISSUER),
        ("", ISSUER),
        (IDENTITY, "https://gitlab.com"),
        (IDENTITY, ISSUER + "/"),
        (IDENTITY, ""),
    ],
)
def test_another_identity_is_refused(signed: Signed, identity: str, issuer: str) -> None:
    text, root, _ = signed

    with pytest.raises(UsageError, match="not a keyless attestation of"):
        verify_keyless(text, identity, issuer, root, "f")


@pytest.mark.parametrize("part", ["authority", "certificates_log", "log"])
def test_another_sigstore_is_refused(signed: Signed, part: str, tmp_path: Path) -> None:
    text, root, _ = signed
    with LocalSigstore() as other:
        foreign = other.trusted_root()
    known = json.loads(root.read_text(encoding="utf-8"))
    key = {
        "authority": "certificateAuthorities", "certificates_log": "ctlogs", "log": "tlogs"
    }[part]  # fmt: skip
    (tmp_path / "mixed.json").write_text(json.dumps({**known, key: foreign[key]}), "utf-8")

    with pytest.raises(UsageError, match="not a keyless attestation of"):
        verify_keyless(text, IDENTITY, ISSUER, tmp_path / "mixed.json", "f")


def test_the_public_instance_does_not_know_it(
    signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `--trust` the keys are those that the package brings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    with pytest.raises(UsageError, match="not a keyless attestation of"):
        verify_keyless(signed[0], IDENTITY, ISSUER, None, "f")


def test_every_changed_byte_is_refused(signed: Signed) -> None:
    """A sample; the log's name in its checkpoint alone is not signed, as the guide says."""
    text, root, run = signed
    begin = text.index(b'"payload":"') + 11
    end = text.index(b'"', begin)
    name = text.index(b"u2014 local ") + 6
    chance = random.Random(0)
    outside = [*range(begin), *range(end - 4, name), *range(name + 5, len(text))]
    places = [*chance.sample(outside, 250), *chance.sample(range(begin, end), 30)]

    for place in places:
        changed = text[:place] + bytes([text[place] ^ (1 << chance.randrange(8))])
        with pytest.raises(UsageError):
            verify_keyless(changed + text[place + 1 :], IDENTITY, ISSUER, root, "f")
    renamed = text[:name] + b"lokal" + text[name + 5 :]
    assert verify_keyless(renamed, IDENTITY, ISSUER, root, "f") == run.verdict


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + b"\n",
        lambda text: text[:-1],
        lambda text: text.replace(b'"mediaType"', b'"x":1,"mediaType"', 1),
        lambda text: text.replace(b'"sig":', b'"keyid":"k","sig":', 1),
        lambda text: text.replace(b".v0.3+json", b"+json;version=0.3", 1),
        lambda text: b"[" * 100_000,
        lambda text: b"",
        lambda text: b"{}",
        lambda text: b"\xff\xfe",
    ],
)
def test_other_forms_are_refused(signed: Signed, change: Callable[[bytes], bytes]) -> None:
    text, root, _ = signed
    changed = change(text)

    assert changed != text
    with pytest.raises(UsageError) as error:
        verify_keyless(changed, IDENTITY, ISSUER, root, "f")
    assert "\n" not in str(error.value)


def _staging_root(folder: Path) -> Path:
    from sigstore._utils import read_embedded

    path = folder / "staging.json"
    path.write_bytes(read_embedded("trusted_root.json", "https://tuf-repo-cdn.sigstage.dev"))
    return path


def test_a_bundle_of_sigstore_itself_is_read(tmp_path: Path) -> None:
    pytest.importorskip("sigstore")
    text = canonical_json(json.loads(STAGING.read_bytes())) + b"\n"
    root = _staging_root(tmp_path)

    with pytest.raises(UsageError, match="signed, but not a statement about a verdict"):
        verify_keyless(text, BEACON, ISSUER, root, "f")
    with pytest.raises(UsageError, match="not a keyless attestation of"):
        verify_keyless(text, BEACON + "x", ISSUER, root, "f")


@pytest.mark.parametrize("path", ["token", "/signingCert", "/entries"])
def test_a_service_that_refuses_is_one_line(
    job: LocalSigstore, run: Run, path: str, tmp_path: Path
) -> None:
    job.broken = {path: 503}

    with pytest.raises(
        UsageError, match=r"^(no keyless signature|--keyless: no identity)"
    ) as error:
        make_keyless(run, job.write_trust(tmp_path))

    assert "\n" not in str(error.value)
    assert "bearer-7c1" not in str(error.value)


def test_without_a_job_it_says_what_to_do(
    job: LocalSigstore, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = job.write_trust(tmp_path)
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    with pytest.raises(UsageError, match="id-token: write"):
        make_keyless(run, trust)
    monkeypatch.delenv("GITHUB_ACTIONS")
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: None)
    with pytest.raises(UsageError, match="sign with --key FILE"):
        make_keyless(run, trust)


def test_from_a_run_to_a_verified_release(project: Any, job: LocalSigstore) -> None:
    """Both commands: exit code of the verdict, and 2 where nothing says who signed it."""
    project.suite()
    project.gate(*project.models(), "--gate-run-dir=r1")
    job.write_trust(project.path)

    signed = project.tunegate("attest", "r1", "--keyless", "--trust", "trust.json", "-o", "a.json")
    digest = Run.load(project.path / "r1").verdict.arms["tuned"]["script_sha256"]
    words = ("verify", "a.json", "--trust", "root.json", "--model", digest)
    verified = project.tunegate(*words, "--identity", IDENTITY)
    codes = [
        project.tunegate(*words, "--identity", f"{IDENTITY}x").ret,
        project.tunegate(*words).ret,
        project.tunegate(*words, "--identity", IDENTITY, "--key", "k.pub").ret,
        project.tunegate("attest", "r1", "--keyless", "--key", "k").ret,
        project.tunegate("attest", "r1").ret,
    ]

    assert (signed.ret, verified.ret) == (0, 0)
    assert f"--identity {IDENTITY} --issuer {ISSUER}" in signed.stdout.str()
    assert verified.stdout.lines[1].startswith(f"proven: {IDENTITY} signed this")
    assert codes == [2] * 5


def test_without_the_library_the_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigstore", None)

    for command in (
        lambda: make_keyless(run, None),
        lambda: verify_keyless(b"", IDENTITY, ISSUER, None, "f"),
    ):
        with pytest.raises(MissingExtra, match=r"pip install 'tunegate\[sigstore\]'"):
            command()
