"""Statistics of the gate: pure functions from numbers to intervals, tests and plans.

No function knows models, files, suites or verdicts, or draws random numbers without a given seed.
Degenerate data give a wide interval; arguments out of range raise a `ValueError` of the form
``name=value must …``.

Arguments mean the same everywhere:

| name                   | meaning                                                           |
|------------------------|-------------------------------------------------------------------|
| `wins`, `losses`       | paired 0/1 cases that only tuned, or only base, gets right        |
| `both`, `n`            | cases that both get right, and all paired cases                   |
| `differences`          | tuned minus base per case; positive means that tuned is better    |
| `clusters`             | one label per case, at least two different ones                   |
| `confidence`           | two-sided: 0.90 puts a one-sided error of 0.05 at each end        |
| `margin`, `ratio`      | null value: the gain to beat, or minus the tolerance              |
| `bound`                | largest possible absolute difference, if there is one             |
| `effect`, `deviation`  | true (mean) difference, and standard deviation of the differences |
| `discordance`          | share of cases on which the models differ, at least abs(effect)   |
| `deff`                 | design effect of clustered cases, at least 1                      |
| `power`                | wanted probability of a pass                                      |
| `human`, `judge`       | differences of the labelled cases, by people and by the judge     |
| `unlabelled`           | differences by the judge for all other cases                      |
| `table`                | 2 x 2 counts, rows by people, columns by the judge, "yes" first   |

Which function answers which question:

| question                                            | function                               |
|-----------------------------------------------------|----------------------------------------|
| By how much does a 0/1 score change?                | `binary.deciding_interval`             |
| Is that change beyond a margin?                     | `binary.tango_test`                    |
| … beyond zero (the second opinion at margin 0)?     | `binary.mcnemar_midp`                  |
| … with few cases?                                   | `binary.exact_at_estimate`             |
| By which factor does a 0/1 score change?            | `binary.deciding_ratio_interval`       |
| Is that factor beyond a limit?                      | `binary.ratio_test`                    |
| How often does tuned succeed (floors)?              | `binary.clopper_pearson`               |
| … when the cases come in clusters?                  | `clusters.clustered_binary_interval`   |
| By which factor, when they come in clusters?        | `clusters.clustered_ratio_interval`    |
| By how much does a continuous score change?         | `paired_mean.mean_interval`            |
| Is that change beyond a margin?                     | `paired_mean.mean_test`                |
| Are there too many catastrophic cases?              | `paired_mean.severe_drops`             |
| Is the sample too skewed to trust?                  | `paired_mean.skewness_warning`         |
| By how much does BLEU, micro-F1, … change?          | `corpus_jackknife.jackknife_interval`  |
| … and what is it without each of the cases?         | `corpus_jackknife.jackknife_replicates` |
| How many times slower or faster is tuned?           | `latency.geometric_mean_ratio`         |
| … at a latency quantile?                            | `latency.quantile_ratio`               |
| Is the latency promise kept?                        | `latency.service_level`                |
| Which of many p-values survive?                     | `multiplicity.holm`                    |
| … for exploring slices, never for a gate?           | `multiplicity.benjamini_hochberg`      |
| How many cases does a binary gate need?             | `power.binary_sample_size`             |
| … a continuous one?                                 | `power.mean_sample_size`               |
| Which margins are out of reach for n cases?         | `power.smallest_provable_n`            |
| May the run stop early for success?                 | `group_sequential.efficacy_bounds`     |
| When to look at a growing sample?                   | `group_sequential.look_sizes`          |
| … for futility?                                     | `group_sequential.conditional_power`   |
| … when the number of cases is not known?            | `confidence_sequences.e_process_test`  |
| Has a stream without end become worse than that?    | `confidence_sequences.update_sequence` |
| … and how bad may it be, by the gate's sample?      | `tolerance_bounds.worst_rate`          |
| What does a judge plus a few human labels say?      | `ppi.ppi_interval`                     |
| … beyond a margin?                                  | `ppi.ppi_test`                         |
| What is the true rate behind a judged rate?         | `judge_accuracy.rogan_gladen_interval` |
| Does the judge agree with people?                   | `judge_accuracy.cohens_kappa`          |
| Which errors does it make?                          | `judge_accuracy.sensitivity`           |
| … beyond what guessing would get right?             | `judge_accuracy.balanced_accuracy`     |
| Does it favour one of the two models?               | `judge_accuracy.differential_error`    |
| Does it answer to the order of the two?             | `judge_bias.order_flips`               |
| … to the place on the page?                         | `judge_bias.first_position_test`       |
| Does it say the same when asked again?              | `judge_bias.repeat_flips`              |
| Does it pay for length?                             | `judge_bias.length_fit`                |

Nothing is re-exported here, so `import tunegate.harness.stats` loads neither numpy nor scipy.
"""
