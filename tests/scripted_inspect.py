"""A program in the place of a Python with Inspect: it plays two tools' tasks and writes the log.

It takes the words of `python -m inspect_ai eval`, asks the endpoint over HTTP as Inspect does, and
writes what `harness/results/inspect.py` reads. Real Inspect is run by the tests marked long.
"""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPT = r"""
import argparse, hashlib, json, os, sys, time, urllib.request, zipfile

if sys.argv[1] == "-c":
    print("0.3.285")
    sys.exit()
parser = argparse.ArgumentParser()
for name in ("model", "log-dir", "epochs", "sample-id", "temperature", "task-config", "max-tokens"):
    parser.add_argument(f"--{name}")
given, rest = parser.parse_known_args(sys.argv[4:])
json.dump(sys.argv[1:], open(f"{given.log_dir}/words.json", "w"))
print("what Inspect prints")
if os.path.exists("fails"):
    print("Task named 'desk' not found.")
    sys.exit(1)
TOOL = {"type": "function", "function": {"name": "find", "description": "Look an order up.",
    "parameters": {"type": "object", "properties": {"order": {"type": "string"}}}}}


def ask(messages):
    body = {"model": given.model.rpartition("/")[2], "messages": messages, "tools": [TOOL]}
    body |= {"temperature": float(given.temperature or 0), "max_tokens": 16}
    request = urllib.request.Request(
        os.environ["TUNEGATE_BASE_URL"] + "/chat/completions", json.dumps(body).encode(),
        {"Authorization": "Bearer " + os.environ["TUNEGATE_API_KEY"]})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def play(name, epoch):
    messages = [{"role": "user", "content": f"Where is {name}?"}]
    usage, error, choice = [0, 0], None, {}
    while len(messages) < 9 and error is None:
        reply = ask(messages)
        choice = reply["choices"][0]
        usage[0] += reply["usage"]["prompt_tokens"]
        usage[1] += reply["usage"]["completion_tokens"]
        calls = choice["message"].get("tool_calls") or []
        messages.append({**choice["message"], "content": choice["message"]["content"] or ""})
        if not calls:
            break
        for call in calls:
            arguments = json.loads(call["function"]["arguments"])
            result = {"role": "tool", "tool_call_id": call["id"], "content": "lost"}
            if set(arguments) != {"order"}:
                result["error"] = {"type": "parsing", "message": "'order' is required"}
            if arguments.get("order") == "X3":
                error = {"message": "OSError('the sandbox crashed')"}
            messages.append(result)
    for message in messages:
        if message.get("tool_calls"):
            message["tool_calls"] = [
                {"id": c["id"], "function": c["function"]["name"],
                 "arguments": json.loads(c["function"]["arguments"])}
                for c in message["tool_calls"]]
    said = messages[-1]["content"]
    found = {"id": name, "epoch": epoch, "input": f"Where is {name}?", "target": "lost",
        "messages": messages, "working_time": 0.5,
        "output": {"completion": said,
            "choices": [{"stop_reason": "stop", "message": messages[-1]}]},
        "model_usage": {given.model: {"input_tokens": usage[0], "output_tokens": usage[1]}}}
    if os.path.exists("limits"):
        found["limit"] = {"type": "message"}
    if error is not None:
        return {**found, "error": error, "scores": {}}
    return {**found, "scores": {"told": {"value": "C" if "lost" in said else "I"},
        "brevity": {"value": 1 / (1 + len(said.split()))}}}


chosen = (given.sample_id or "A1,B2,X3").split(",")
if os.path.exists("orders.txt") and not given.sample_id:
    chosen = open("orders.txt").read().split()
header = {"version": 2, "status": "success",
    "eval": {"task": "desk", "model": given.model, "created": "2026-11-28",
        "dataset": {"sample_ids": chosen}, "packages": {"inspect_ai": "0.3.285"}}, "plan": {}}
if os.path.exists("ends"):
    header |= {"status": "error", "error": {"message": "the disk is full"}}
with zipfile.ZipFile(f"{given.log_dir}/1_desk.eval", "w") as log:
    for name in chosen:
        for epoch in range(1, int(given.epochs) + 1):
            sample = play(name, epoch)
            log.writestr(f"samples/{name}_epoch_{epoch}.json", json.dumps(sample))
            if os.path.exists("sleeps"):
                time.sleep(300)
    log.writestr("header.json", json.dumps(header))
if os.path.exists("killed"):
    os.truncate(f"{given.log_dir}/1_desk.eval", 100)
    os.kill(os.getpid(), 9)
"""


def write_scripted_inspect(folder: Path) -> Path:
    """Write the program and return its place."""
    path = folder / "python-with-inspect"
    path.write_text(f"#!{sys.executable}\n{SCRIPT}")
    path.chmod(0o755)
    return path
