"""How often the gate is wrong: its default rules, run on data whose truth is known.

    python -m benchmarks.error_rates            # everything, some minutes on one core
    python -m benchmarks.error_rates --fast     # a smaller table in seconds
    python -m benchmarks.error_rates --only looks

Every row calls the code that decides a real run (`tunegate.harness.decision.verdict`,
`tunegate.harness.stats`); nothing of the arithmetic is repeated here. Rules on 0/1 scores are
enumerated: their rates are exact, the worst over every share of discordant pairs. The others are
simulated from a seed, and a rate comes with its Monte Carlo standard error. A rate fails when it
is more than two of those above its limit; the exit code is then 1.

One module for each question:

| module       | how often …                                                            |
|--------------|------------------------------------------------------------------------|
| `binary`     | a 0/1 metric at its margin is called better (or no worse)              |
| `relative`   | the same where the tolerance is a share of base's level                |
| `continuous` | the same for scores between 0 and 1 and for unbounded ones, both ends  |
| `corpora`    | a corpus value at its margin is called no worse, through whole runs    |
| `clusters`   | the same where cases belong together                                   |
| `copies`     | the same where prompts occur more than once                            |
| `runs`       | a whole run ships with a broken guardrail or an absent gain, or alarms |
| `guardrails` | a floor passes or blocks at its level, or one odd score hides a loss   |
| `looks`      | the same when the growing sample is looked at before its end           |
| `bounded`    | rare total failures pass a bounded score at its margin                 |
| `slices`     | a gate on a tag is wrong, or a slice is named by chance                |
| `judges`     | a labelled or calibrated judge errs at its margin                      |
| `noise`      | inexact arithmetic, missing scores or a slow machine decide            |
| `plans`      | the planned chance of a pass is off, and by how much                   |
"""
