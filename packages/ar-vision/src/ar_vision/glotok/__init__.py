"""GloTok: a dual-codebook tokenizer whose semantic codes relate to each other as a teacher's features do (arXiv 2511.14184).

This file imports no torch.
"""

from ar_core.registry import Command, Recipe

__all__ = ["PROFILE", "RECIPE", "TEACHER"]

_ROOM = "ar_vision.glotok"

RECIPE = Recipe(
    name="glotok",
    summary="GloTok: a tokenizer with two codebooks, the histogram relation loss and residual modules",
    package=f"{_ROOM}.recipes",
    run_config=f"{_ROOM}.train:GlotokRun",
    build=f"{_ROOM}.train:build",
)

TEACHER = Recipe(
    name="glotok_teacher",
    summary="Cluster centres of a frozen network's patch features, class by class: whose histogram GloTok's codebook takes on",
    package=f"{_ROOM}.teacher.recipes",
    run_config=f"{_ROOM}.teacher.stage:GlotokTeacherRun",
    build=f"{_ROOM}.teacher.stage:build",
    makes="data",
)

PROFILE = Command(
    name="teacher-profile",
    summary="Write the histogram of a GloTok teacher: forty numbers, which training needs in the place of the teacher",
    run=f"{_ROOM}.teacher.profile_command:write_profile",
    options=f"{_ROOM}.teacher.profile_command:TeacherProfileConfig",
    examples=(
        "ar-decode teacher-profile teacher=./runs/glotok_teacher output=dinov2_b14.json",
        "ar-decode teacher-profile teacher=./runs/glotok/final output=own.json histogram.bins=40",
    ),
    fields={"output": "the file", "bins, vectors": "numbers that were written, and vectors whose pairs they count"},
)
