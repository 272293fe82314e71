"""ECM, efficient control of VAR generators (arXiv 2510.05610): edges, depth and the like for a frozen VAR. Imports no torch."""

from ar_core.registry import Command, Converter, Recipe

__all__ = ["CAR", "CONTROL", "CONTROL_MAPS", "RECIPE"]

RECIPE = Recipe(
    name="ecm",
    summary="ECM: adapters that make a frozen VAR follow edges, depth, normals or segments; LoRA, full fine-tuning and CAR beside it",
    package="ar_vision.ecm.recipes",
    run_config="ar_vision.ecm.train:EcmRun",
    build="ar_vision.ecm.train:build",
)

CONTROL = Command(
    name="control",
    summary="Draw images of a VAR that follow the edges, depth, normals or segments of pictures",
    run="ar_vision.ecm.control_command:draw_controlled",
    options="ar_vision.ecm.control_command:ControlCommandConfig",
    examples=(
        "ar-decode control adapter=./ecm checkpoint=./var tokenizer=./vae images=photo.jpg labels=[207] output=grid.png",
        "ar-decode control adapter=./ecm checkpoint=./var tokenizer=./vae images=./photos late_temperature=1 strength=0.5 "
        "variations=8 output=samples",
        "ar-decode control adapter=./ecm_depth checkpoint=./var tokenizer=./vae maps=./depth labels=[207] fidelity=false "
        "output=samples.npz",
    ),
    fields={
        "output, record": "the grid, archive or folder, and the file of settings, fidelity and environment beside it",
        "kind, control": "of the controller, and of its control",
        "maps, count": "how many maps, and how many images of them",
        "fidelity": "how well the images follow their maps, with the protocol; null where it was not measured",
    },
)

CONTROL_MAPS = Command(
    name="control-maps",
    summary="Make control maps of pictures: canny, edges, or with a model depth, normals, segments",
    run="ar_vision.ecm.maps_command:make_maps",
    options="ar_vision.ecm.maps_command:ControlMapsConfig",
    examples=(
        "ar-decode control-maps images=./train output=./train_canny",
        "ar-decode control-maps images=./train kind=depth detector=./dpt-large output=./train_depth",
    ),
    fields={
        "output, record": "the folder of maps, and the file of settings and environment beside it",
        "kind, count": "of control, and how many maps",
    },
)

CAR = Converter(
    name="car",
    summary="Published weights of CAR (car_canny_d16.pth), a baseline of ECM; settings base=FOLDER control=canny",
    convert="ar_vision.ecm.baselines.car_convert:convert",
)
