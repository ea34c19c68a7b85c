"""Further arms, one per file and found by its name; `harness/further_arm.py` is the contract."""
