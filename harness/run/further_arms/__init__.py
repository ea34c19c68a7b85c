"""Further arms, one per file and found by its name; `harness/contracts/further_arm.py` is the
contract.
"""
