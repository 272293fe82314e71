"""Honest measurements of images: of samples, of reconstructions, and the protocol under which samples are drawn. Imports no torch."""

from ar_core.registry import Command

__all__ = ["EVAL_IMAGE", "EVAL_TOKENIZER", "IMAGE"]

IMAGE = Command(
    name="image",
    summary="Draw images from a checkpoint: a grid, an .npz or a folder",
    run="ar_vision.evaluation.image_command:draw_images",
    options="ar_vision.evaluation.image_command:ImageConfig",
    examples=(
        "ar-decode image checkpoint=./var tokenizer=./vae labels=[3,5] count=20 guidance=2.5 top_k=900 output=grid.png",
        "ar-decode image checkpoint=./var tokenizer=./vae labels=[3] scales=true output=steps.png",
        "ar-decode image checkpoint=./infinity tokenizer=./bsq 'prompts=[a red bus,a cat]' text_encoder=./flan-t5-xl "
        "guidance=4 temperature=0.5 ratio=0.75 output=grid.png",
        "ar-decode image checkpoint=./llamagen tokenizer=./vq 'prompts=[red heart,grinning cat]' guidance=3 output=grid.png",
        "ar-decode image checkpoint=./var tokenizer=./vae count=50000 batch_size=64 seed=1 output=samples.npz",
    ),
    fields={
        "output, record": "the grid, archive or folder, and the file of settings and environment beside it",
        "kind": "of the generator",
        "count, labels": "images in all, and the round of classes, or numbers of prompts, that they go through",
    },
)

EVAL_IMAGE = Command(
    name="eval-image",
    summary="Measure samples: Fréchet distance, class score, precision and recall, accuracy, nearest training images",
    run="ar_vision.evaluation.eval_image_command:evaluate_images",
    options="ar_vision.evaluation.eval_image_command:EvalImageConfig",
    examples=(
        "ar-decode eval-image samples=samples.npz reference=held_out.npz train=train.npz features.kind=resnet20-cifar10 "
        "features.path=resnet20.safetensors output=report.json",
        "ar-decode eval-image checkpoint=./var tokenizer=./vae per_class=50 guidance=2.5 reference=VIRTUAL_imagenet256_labeled.npz "
        "features.kind=inception-v3 features.path=pt_inception-2015-12-05-6726825d.pth output=report.json",
    ),
    fields={
        "output": "the report, which holds the same",
        "metrics": "values by the names under which they may be reported",
        "count": "samples that were measured",
        "samples, reference, train": "where images come from",
        "features": "which features numbers were measured on",
        "settings": "metrics, neighbours, splits ...",
    },
)

EVAL_TOKENIZER = Command(
    name="eval-tokenizer",
    summary="Measure a tokenizer's reconstructions: PSNR, SSIM, LPIPS, Fréchet distance, use of its codes",
    run="ar_vision.evaluation.eval_tokenizer_command:evaluate_tokenizer",
    options="ar_vision.evaluation.eval_tokenizer_command:EvalTokenizerConfig",
    examples=(
        "ar-decode eval-tokenizer tokenizer=./vae images=held_out.npz lpips=lpips.safetensors output=report.json",
        "ar-decode eval-tokenizer tokenizer=./vae images=./photographs device=cuda output=report.json --json",
    ),
    fields={
        "output": "the report, which holds the same",
        "metrics": "values by name",
        "count": "images that were measured",
        "tokenizer, images, features, settings": "what was measured, and how",
    },
)
