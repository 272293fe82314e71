"""NSARM (arXiv 2510.00820): super-resolution of photographs by next-scale prediction on Infinity. Imports no torch."""

from ar_core.registry import Command, Recipe

__all__ = ["DEGRADE", "EVAL_SR", "RECIPE", "SR"]

RECIPE = Recipe(
    name="nsarm",
    summary="NSARM: super-resolution on an Infinity, whose first scales a transformation network writes from the small image",
    package="ar_vision.nsarm.recipes",
    run_config="ar_vision.nsarm.train:NsarmRun",
    build="ar_vision.nsarm.train:build",
)

SR = Command(
    name="sr",
    summary="Upscale photographs of any size with an nsarm checkpoint, tile by tile",
    run="ar_vision.nsarm.sr_command:upscale_files",
    options="ar_vision.nsarm.sr_command:SrConfig",
    examples=(
        "ar-decode sr checkpoint=./nsarm tokenizer=./bsq input=small.jpg output=large.png",
        "ar-decode sr checkpoint=./nsarm tokenizer=./bsq input=photographs output=upscaled prompt='a street at night' seed=1",
        "ar-decode sr checkpoint=./nsarm tokenizer=./bsq text_encoder=./flan-t5-xl input=small.jpg output=large.png",
    ),
    fields={
        "output, record": "the picture or folder, and the file of settings, times and environment beside it",
        "factor, seconds": "how many times larger, and how long it took with reading, text and writing",
        "pictures": "a list: picture, size, tiles, overlap, text, seam_ratio, blend_ratio, seconds, phases, forwards",
    },
)

EVAL_SR = Command(
    name="eval-sr",
    summary="Measure super-resolution over a sweep of degradations: PSNR, SSIM, LPIPS, metrics without reference",
    run="ar_vision.nsarm.eval_command:evaluate_sr",
    options="ar_vision.nsarm.eval_command:EvalSrConfig",
    examples=(
        "ar-decode eval-sr checkpoint=./nsarm tokenizer=./bsq images=held_out lpips=lpips.safetensors output=report.json",
        "ar-decode eval-sr checkpoint=./nsarm tokenizer=./bsq images=held_out degradations=[light,realesrgan] "
        "no_reference=[musiq,maniqa] output=report.json",
    ),
    fields={
        "output": "the report, which holds the same",
        "summary": "by method and metric: mean, mean_of_variances (over images), variance_of_means (over degradations)",
        "values": "of each photograph, by degradation, method and metric",
        "count, seconds_an_image": "photographs, and the time of one",
        "upscaling, images, degradations": "what was measured, and how",
    },
)

DEGRADE = Command(
    name="degrade",
    summary="Degrade a photograph in several ways, as one picture",
    run="ar_vision.nsarm.degrade_command:degrade_picture",
    options="ar_vision.nsarm.degrade_command:DegradeConfig",
    examples=("ar-decode degrade input=photograph.png output=degraded.png degradations=[light,realesrgan] count=4",),
    fields={
        "output": "the picture that was written",
        "degradations, count": "their names, and how many draws it shows",
    },
)
