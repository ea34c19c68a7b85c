"""Groups of subjects: forgetting often hits a whole field, in which each subject has few cases.

A tag is in a group if it is a subject of MMLU (with or without lm-eval's `mmlu_` in front), one of
the suite `general_knowledge`, or written `group/subject`. MMLU's groups are those of its authors
(Hendrycks et al. 2021, `categories.py` of github.com/hendrycks/test).
"""

from __future__ import annotations

_SUBJECTS = {
    "STEM": (
        "abstract_algebra astronomy college_biology college_chemistry college_computer_science "
        "college_mathematics college_physics computer_security conceptual_physics "
        "electrical_engineering elementary_mathematics high_school_biology high_school_chemistry "
        "high_school_computer_science high_school_mathematics high_school_physics "
        "high_school_statistics machine_learning "
        "biology chemistry computing everyday_physics weather_and_climate"
    ),
    "humanities": (
        "formal_logic high_school_european_history high_school_us_history "
        "high_school_world_history international_law jurisprudence logical_fallacies "
        "moral_disputes moral_scenarios philosophy prehistory professional_law world_religions "
        "art_and_music law_and_government literature world_history"
    ),
    "social sciences": (
        "econometrics high_school_geography high_school_government_and_politics "
        "high_school_macroeconomics high_school_microeconomics high_school_psychology "
        "human_sexuality professional_psychology public_relations security_studies sociology "
        "us_foreign_policy "
        "economics_and_money geography"
    ),
    "other": (
        "anatomy business_ethics clinical_knowledge college_medicine global_facts human_aging "
        "management marketing medical_genetics miscellaneous nutrition professional_accounting "
        "professional_medicine virology "
        "food_and_household human_body"
    ),
}

_GROUPS = {subject: group for group, names in _SUBJECTS.items() for subject in names.split()}


def group_of(tag: str) -> str | None:
    """Return the group that a subject is in, None if it is in none that is known."""
    group, slash, _ = tag.partition("/")
    if slash:
        return group.strip() or None
    return _GROUPS.get(tag.removeprefix("mmlu_").replace(" ", "_"))
