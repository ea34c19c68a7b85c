"""Attestations: a verdict that is signed, computed again, and refused where a byte differs."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography")

from tests.frozen_runs.outputs import STORED, unpack
from tests.results.recorded_results import gate, write_rows, write_suite
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.episodes import EpisodeCall, EpisodeEnd, EpisodeRecord, EpisodeTurn
from tunegate.harness.records.errors import MissingExtra, UsageError
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.run.attestation import PAYLOAD_TYPE, make_attestation, verify_attestation
from tunegate.harness.run.signing_keys import read_public_key, write_new_key
from tunegate.harness.run.statement import (
    decide_statement,
    make_statement,
    refuse_other_model,
)

Loader = Callable[[str], Run]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the stored runs."""
    place = tmp_path_factory.mktemp("stored")
    unpack(place)
    return place / "runs"


@pytest.fixture(name="load")
def _load(unpacked: Path) -> Loader:
    """Return a function that reads a stored run."""
    return lambda name: Run.load(unpacked / name)


@pytest.fixture(name="key")
def _key(tmp_path: Path) -> Path:
    """Return a new private key; its public key is next to it."""
    write_new_key(tmp_path / "k")
    return tmp_path / "k"


@pytest.mark.parametrize("name", sorted(path.name for path in STORED.iterdir()))
def test_every_kind_of_run_verifies_to_its_verdict(name: str, load: Loader, key: Path) -> None:
    run = load(name)
    text = make_attestation(run, key).encode()

    assert verify_attestation(text, key.with_name("k.pub"), "f") == run.verdict


def test_no_prompt_and_no_answer_is_in_it(load: Loader, key: Path) -> None:
    run = load("ship_equivalent")
    texts = [row.case.prompt for row in run.cases.values() if row.case.prompt]
    texts += [c.completion.text for c in run.cells if c.completion and c.completion.text]

    payload = base64.b64decode(json.loads(make_attestation(run, key))["payload"]).decode()

    assert texts
    assert [text for text in texts if len(text) > 12 and json.dumps(text)[1:-1] in payload] == []


def test_thoughts_and_episodes_are_not_in_it(load: Loader, key: Path) -> None:
    run = load("ship_equivalent")
    calls = (EpisodeCall(name="find", arguments={"q": "secret query"}, result="secret result"),)
    turn = EpisodeTurn(prompt_sha256="0", text="secret turn", calls=calls, message="secret message")
    played = EpisodeRecord(
        turns=(turn,), reward=1.0, end=EpisodeEnd.ANSWERED, opening="secret opening"
    )
    texts = {"reasoning": "secret thought", "episode": played}
    cells = [
        replace(cell, completion=cell.completion and cell.completion.model_copy(update=texts))
        for cell in run.cells
    ]

    payload = make_statement(replace(run, cells=cells))

    assert b"secret" not in payload


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_run_with_some_empty_answers_verifies(tmp_path: Path, blank: str) -> None:
    def rows(text: str) -> list[dict[str, Any]]:
        answers = [text if i % 10 == 0 else f"it is {i}" for i in range(100)]
        return [
            {"id": f"r{i}", "prompt": f"{i}?", "completion": answer, "score": i % 3}
            for i, answer in enumerate(answers)
        ]

    base = write_rows(tmp_path / "base.jsonl", rows("it is 10"))
    tuned = write_rows(tmp_path / "tuned.jsonl", rows(blank))
    gate(write_suite(tmp_path, base, options="range = [0, 2]"), base, tuned)
    run = Run.load(tmp_path / "run")

    assert "found: 10 of 100 answers of tuned are empty" in run.verdict.suites[0].notes
    assert decide_statement(make_statement(run), "f") == run.verdict


def test_a_run_whose_base_writes_one_label_verifies(tmp_path: Path) -> None:
    """One text for all prompts is not broken if it is a label, which only the texts show."""

    def rows(*, right: bool) -> list[dict[str, Any]]:
        labels = [f"label {i % 20}" for i in range(100)]
        return [
            {
                "id": f"r{i}",
                "prompt": f"{i}?",
                "completion": label if right else "label 0",
                "expected": label,
                "score": int(right or i % 20 == 0),
            }
            for i, label in enumerate(labels)
        ]

    base, tuned = (
        write_rows(tmp_path / f"{right}.jsonl", rows(right=right)) for right in (False, True)
    )
    gate(write_suite(tmp_path, base, gates="gain = 0.0"), base, tuned)
    run = Run.load(tmp_path / "run")

    assert run.verdict.verdict is Verdict.SHIP
    assert decide_statement(make_statement(run), "f") == run.verdict


def test_openssl_accepts_the_signature(load: Loader, key: Path, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    envelope = json.loads(make_attestation(load("block_slow"), key))
    payload = base64.b64decode(envelope["payload"])
    signed = f"DSSEv1 28 application/vnd.in-toto+json {len(payload)} ".encode() + payload
    (tmp_path / "signed").write_bytes(signed)
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))

    words = ["pkeyutl", "-verify", "-pubin", "-inkey", "k.pub", "-rawin", "-in", "signed"]
    done = subprocess.run([openssl, *words, "-sigfile", "sig"], cwd=tmp_path, capture_output=True)

    assert envelope["payloadType"] == PAYLOAD_TYPE
    assert done.returncode == 0


def test_every_changed_byte_is_refused(load: Loader, key: Path) -> None:
    text = make_attestation(load("undecided_few_cases"), key).encode()
    begin = text.index(b'"payload":"') + 11
    end = text.index(b'"', begin)
    chosen = random.Random(0).sample(range(begin, end), 200)
    places = [*range(begin), *chosen, *range(end - 4, len(text))]

    for place in places:
        for bit in range(8):
            changed = text[:place] + bytes([text[place] ^ (1 << bit)]) + text[place + 1 :]
            with pytest.raises(UsageError):
                verify_attestation(changed, key.with_name("k.pub"), "f")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + b"\n",
        lambda text: text[:-1],
        lambda text: b" " + text,
        lambda text: text.replace(b'"payloadType"', b'"x":1,"payloadType"'),
        lambda text: text.replace(b'"signatures":[{', b'"signatures":[{"x":1,'),
        lambda text: text.replace(b'"signatures":[', b'"signatures":[{},'),
        lambda text: b"[" * 100_000,
        lambda text: b"",
        lambda text: b"{}",
        lambda text: b'{"payload":1,"signatures":[{"sig":1}]}',
    ],
)
def test_other_forms_of_the_same_content_are_refused(load: Loader, change: Any, key: Path) -> None:
    text = make_attestation(load("undecided_few_cases"), key).encode()

    with pytest.raises(UsageError):
        verify_attestation(change(text), key.with_name("k.pub"), "f")


def test_a_signed_lie_is_refused(load: Loader, key: Path) -> None:
    run = load("block_regression")
    lie = run.verdict.model_copy(update={"verdict": Verdict.SHIP})

    with pytest.raises(UsageError, match="says SHIP, and the scores give BLOCK"):
        make_attestation(replace(run, verdict=lie), key)


def test_another_key_is_refused(load: Loader, key: Path, tmp_path: Path) -> None:
    text = make_attestation(load("undecided_few_cases"), key).encode()
    other = write_new_key(tmp_path / "other")

    with pytest.raises(UsageError, match="signed by key"):
        verify_attestation(text, other, "f")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_private_key_that_others_can_read_is_refused(load: Loader, key: Path) -> None:
    """A new one is not; an existing file is never replaced."""
    run = load("undecided_few_cases")
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)

    with pytest.raises(UsageError, match="mode 640"):
        make_attestation(run, key)
    with pytest.raises(UsageError, match="no key written"):
        write_new_key(key)


def judged_sha256(run: Path) -> str:
    """Return the hash of a run's scripted fine-tune."""
    return str(Run.load(run).verdict.arms["tuned"]["script_sha256"])


def test_from_a_run_to_a_verified_release(project: Any) -> None:
    """Exit code of the verdict; 2 without a key, and no key in the run folder."""
    project.suite()
    project.gate(*project.models(), "--gate-run-dir=r1")

    made = project.tunegate("attest", "--new-key", "k")
    signed = project.tunegate("attest", "r1", "--key", "k", "-o", "a.json")
    digest = judged_sha256(project.path / "r1")
    words = ("verify", "a.json", "--key", "k.pub", "--model", digest)
    start = time.process_time()
    verified = project.tunegate(*words)
    took = time.process_time() - start
    unknown = project.tunegate("verify", "a.json")

    assert (made.ret, signed.ret, verified.ret, unknown.ret) == (0, 0, 0, 2)
    assert verified.stdout.lines[0] == f"checked: {digest} has the weights that were judged"
    assert "not proven by this file" in verified.stdout.lines[2]
    assert took < 5
    assert not [p for p in (project.path / "r1").iterdir() if b"PRIVATE" in p.read_bytes()]


def test_a_block_has_its_own_exit_code(project: Any) -> None:
    project.suite()
    project.gate(*project.models(base=90, tuned=30), "--gate-run-dir=r1")
    project.tunegate("attest", "--new-key", "k")
    project.tunegate("attest", "r1", "--key", "k", "-o", "a.json")

    assert project.tunegate("verify", "a.json", "--key", "k.pub", "--model", "any").ret == 1


def test_an_old_statement_ships_no_other_model(project: Any) -> None:
    """The file, its hash or the word that none is compared; without any of them 2."""
    project.suite()
    project.gate(*project.models(), "--gate-run-dir=r1")
    project.tunegate("attest", "--new-key", "k")
    project.tunegate("attest", "r1", "--key", "k", "-o", "a.json")
    words = ("verify", "a.json", "--key", "k.pub")
    digest = judged_sha256(project.path / "r1")

    untold = project.tunegate(*words)
    trusted = project.tunegate(*words, "--model", "any")
    codes = [project.tunegate(*words, "--model", m).ret for m in (digest, f"sha256:{digest}")]
    other = project.tunegate(*words, "--model", "tuned.json")
    lost = project.tunegate(*words, "--model", "out/adapter")

    about = f"not checked: whether the model that you have is scripted:{project.path}/tuned.json"
    assert (untold.ret, trusted.ret, codes) == (2, 0, [0, 0])
    assert untold.stdout.lines == []
    [missing] = untold.stderr.lines
    assert all(word in missing for word in ("a.json", digest, "--model PATH", "--model any"))
    assert trusted.stdout.lines[0] == f"{about} (SHA-256 {digest})"
    assert (other.ret, lost.ret) == (2, 2)
    assert "--model tuned.json: a.json is about scripted:" in other.stderr.str()
    assert "not a folder, a file or a SHA-256" in lost.stderr.str()


def test_folders_of_weights_are_compared(load: Loader, tmp_path: Path) -> None:
    verdict = load("undecided_few_cases").verdict
    for name, content in (("judged", b"1"), ("other", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_model.safetensors").write_bytes(content)
    own = weights_fingerprint(tmp_path / "judged")
    for identity in ({"adapter_sha256": own, "weights_sha256": "b" * 64}, {"weights_sha256": own}):
        known = verdict.model_copy(update={"arms": {**verdict.arms, "tuned": identity}})
        refuse_other_model(known, str(tmp_path / "judged"), "f")
        with pytest.raises(UsageError, match="f is about"):
            refuse_other_model(known, str(tmp_path / "other"), "f")
    unknown = verdict.model_copy(update={"arms": {"tuned": {"spec": "server:x"}}})
    with pytest.raises(UsageError, match=r"no hash of server:x .*--model any"):
        refuse_other_model(unknown, own, "f")


def test_other_libraries_read_and_verify_it(load: Loader, key: Path) -> None:
    dsse = pytest.importorskip("securesystemslib.dsse")
    signer = pytest.importorskip("securesystemslib.signer")
    statement = pytest.importorskip("in_toto_attestation.v1.statement")
    generated = pytest.importorskip("in_toto_attestation.v1.statement_pb2")
    json_format = pytest.importorskip("google.protobuf.json_format")
    envelope = json.loads(make_attestation(load("ship_equivalent"), key))
    name = envelope["signatures"][0]["keyid"]
    public = signer.SSlibKey.from_crypto(read_public_key(key.with_name("k.pub")), keyid=name)
    read = dsse.Envelope.from_dict(envelope)

    accepted = read.verify([public], 1)
    found = json_format.Parse(read.payload, generated.Statement())
    statement.Statement.copy_from_pb(found).validate()

    assert list(accepted) == [name]
    assert found.subject[0].name == "tuned"


def test_without_the_library_the_extra_is_named(
    load: Loader, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = load("undecided_few_cases")
    text = make_attestation(run, key).encode()
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)

    for command in (
        lambda: make_attestation(run, key),
        lambda: verify_attestation(text, key.with_name("k.pub"), "f"),
    ):
        with pytest.raises(MissingExtra, match=r"pip install 'tunegate\[attest\]'"):
            command()
