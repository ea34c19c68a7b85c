"""Records what HELM writes for a run of each of two models, into `tests/results/recorded/helm/`.

    python tools/recordings/record_helm.py

Run it where crfm-helm is installed (0.5.16 wrote the files). `helm-run` does everything but
answer: its client of simple models looks the answers up. There are two sets of examples in the
prompt (`train_trial_index`), each question also in small letters (a perturbation), and a call
that an API refused for one question, which HELM counts as an empty answer.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

RECORDED = Path(__file__).parents[2] / "tests/results/recorded/helm"
MODELS = ("base", "tuned")
REFUSED = 51
"""The number whose question the API refuses."""
ENTRY = "{task}:model=simple/{model},data_augmentation=lower,num_train_trials=2"
KEPT = ("run_spec.json", "scenario.json", "scenario_state.json", "stats.json",
        "per_instance_stats.json")  # fmt: skip


def answer(model: str, prompt: str) -> str:
    """Return the model's answer: base errs in every third number, tuned in every fifth."""
    asked = re.findall(r"[Ii]s (\d+) even or odd", prompt)[-1]
    number = int(asked)
    right = number % 2 == 0
    wrong = number % (3 if model == "base" else 5) == 0
    word = "Even" if right is not wrong else "Odd"
    return " A" if word == "Even" and "A." in prompt else " B" if "A." in prompt else f" {word}"


def main() -> None:
    """Run HELM for each model and keep its files, without times."""
    from helm.benchmark import run
    from helm.clients.simple_client import SimpleClient
    from helm.common.request import ErrorFlags, GeneratedOutput, Request, RequestResult, Token

    def make_request(self: SimpleClient, request: Request) -> RequestResult:
        if f"s {REFUSED} even or odd" in request.prompt.rsplit("Question:", 1)[-1]:
            flags = ErrorFlags(is_retriable=False, is_fatal=False)
            text = "the content filter refused the request"
            return RequestResult(
                success=False, cached=False, error=text, completions=[], embedding=[],
                error_flags=flags,
            )  # fmt: skip
        text = answer(request.model.split("/")[1], request.prompt)
        found = GeneratedOutput(text=text, logprob=0, tokens=[Token(text=text, logprob=0)])
        return RequestResult(
            success=True, cached=False, completions=[found], embedding=[], request_time=0.5
        )

    SimpleClient.make_request = make_request
    shutil.rmtree(RECORDED, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "prod_env").mkdir()
        _register_models(place / "prod_env")
        entries = [ENTRY.format(task=task, model=model)
                   for model in MODELS for task in ("simple_mcqa",)]  # fmt: skip
        sys.argv = ["helm-run", "--run-entries", *entries, "--suite", "v1", "--local-path",
                    str(place / "prod_env"), "--output-path", str(place / "out"),
                    "--max-eval-instances", "8", "--disable-cache"]  # fmt: skip
        run.main()
        for file in sorted((place / "out" / "runs" / "v1").glob("*/*.json")):
            if file.name in KEPT:
                target = RECORDED / file.parent.name.replace(":", "%3A") / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(json.dumps(json.loads(file.read_text())) + "\n")


def _register_models(folder: Path) -> None:
    """Tell HELM of the two models, which its own client of simple models answers for."""
    deployments, metadata = [], []
    for model in MODELS:
        deployments.append(
            f"""
  - name: simple/{model}
    model_name: simple/{model}
    tokenizer_name: simple/tokenizer1
    max_sequence_length: 2048
    client_spec:
      class_name: "helm.clients.simple_client.SimpleClient"
"""
        )
        metadata.append(
            f"""
  - name: simple/{model}
    display_name: {model}
    description: answers that are looked up
    creator_organization_name: none
    access: open
    release_date: 2023-01-01
    tags: [TEXT_MODEL_TAG, FULL_FUNCTIONALITY_TEXT_MODEL_TAG]
"""
        )
    (folder / "model_deployments.yaml").write_text("model_deployments:\n" + "".join(deployments))
    (folder / "model_metadata.yaml").write_text("models:\n" + "".join(metadata))


if __name__ == "__main__":
    main()
