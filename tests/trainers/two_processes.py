"""A training in several processes, watched by the gate: `torchrun two_processes.py BASE FOLDER`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.trainers.training_scripts import make_trainer, train
from tunegate import GateCallback


def main(base: Path, folder: Path) -> None:
    """Train until forgetting is proven; leave what this process knows in the folder."""
    os.chdir(folder)
    trainer = make_trainer(
        base, folder / "out", lora=False, max_steps=16, save_steps=4, ddp_backend="gloo"
    )
    trainer.add_callback(GateCallback(folder / "letters", stop_on="regression"))
    train(trainer)
    state = trainer.state
    found = [state.global_step, state.best_global_step, state.best_model_checkpoint]
    Path(f"process-{os.environ['RANK']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
