"""Small real sets as conversations: sides that share no picture, answers as the sets have them, and refusals."""

import io
import json
import zipfile

import numpy as np
import pytest
from ar_core.errors import CheckpointError, DataError
from dvlm.data.files import read_conversations
from dvlm.decoding.requests import read_requests
from PIL import Image

pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture
def module(benchmark_module):
    return lambda name: benchmark_module(f"image_text.{name}")


def png(colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), colour, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def wheel(path, *, without: str = ""):
    """An excerpt of easy-VQA: its first questions, on drawn pictures; one picture is on both sides."""
    train = [
        ["what is the blue shape?", "rectangle", 0],
        ["what color is the shape?", "blue", 0],
        ["does the image contain a rectangle?", "yes", 0],
        ["is there a triangle in the image?", "no", 0],
        ["is there a black shape?", "no", 0],
        ["does the image not contain a gray shape?", "yes", 0],
        ["is there not a blue shape?", "no", 1],
    ]
    test = [["what is the red shape?", "triangle", 0], ["what is the color of the triangle?", "red", 0]]
    files = {
        "easy_vqa/data/train/questions.json": json.dumps(train).encode(),
        "easy_vqa/data/test/questions.json": json.dumps(test).encode(),
        "easy_vqa/data/train/images/0.png": png(1),
        "easy_vqa/data/train/images/1.png": png(2),
        "easy_vqa/data/test/images/0.png": png(2),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            if name != without:
                archive.writestr(name, data)
    return path


def test_easy_vqa_keeps_its_split_but_for_pictures_on_both_sides(module, tmp_path):
    sides = module("easy_vqa").easy_vqa(wheel(tmp_path / "a.whl"))
    assert [item.picture for item in sides.train] == [png(1)]
    assert [item.picture for item in sides.held_out] == [png(2)]
    *turns, described = sides.train[0].conversations
    assert [len(one) for one in turns] == [5, 1]
    assert {pair for one in turns for pair in one} >= {
        ("What is the blue shape?", "rectangle"),
        ("Is there a black shape?", "no"),
    }
    told = "The picture shows one shape. It is a rectangle and its color is blue. There is no circle and no triangle in the picture."
    assert described == (("Describe the picture in three sentences.", told),)
    assert len(told.split()) == 24
    asked = {question.kind: question.references for question in sides.held_out[0].questions}
    assert asked["shape"] == ("triangle",)
    assert asked["color"] == ("red",)
    assert asked["description"][0].startswith("The picture shows one shape. It is a triangle and its color is red.")


def test_another_file_is_no_wheel_of_easy_vqa(module, tmp_path):
    easy_vqa = module("easy_vqa").easy_vqa
    (tmp_path / "b.whl").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"b\.whl cannot be read as the wheel of easy-VQA .*pip download"):
        easy_vqa(tmp_path / "b.whl")
    with pytest.raises(DataError, match=r"There is no item named 'easy_vqa/data/train/images/1\.png'"):
        easy_vqa(wheel(tmp_path / "c.whl", without="easy_vqa/data/train/images/1.png"))


def photographs(folder, *rows):
    (folder / "images").mkdir(parents=True)
    for number, row in enumerate(rows):
        row["file_name"] = f"images/{number}.jpg"
        (folder / row["file_name"]).write_bytes(png(number))
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_photographs_are_described_counted_and_asked_for_what_is_not_there(module, tmp_path, monkeypatch):
    coco = module("photographs")
    captions = [
        "A computer desk topped with an open laptop computer.",
        "a desk with a light a chair a laptop and a mac",
    ]
    folder = photographs(
        tmp_path / "coco",
        {"captions": captions, "object_counts": {"laptop": 1, "chair": 2}},
        {"captions": ["Several horse are in a meadow by a lake."], "object_counts": {"horse": 5, "orange": 1}},
        {"captions": ["One."], "object_counts": None},
    )
    monkeypatch.setattr(coco, "HELD_OUT", 0)
    desk, meadow, unknown = coco.coco(folder).train
    short, detail = desk.questions[:2]
    assert short.references[1] == "A desk with a light a chair a laptop and a mac."
    # Two captions have 9 and 11 words: fewer than 24, so that all are joined, each time from another one on.
    assert detail.references == tuple(f"{a} {b}" for a, b in (short.references, short.references[::-1]))
    counts = {one.text: one.references for one in desk.questions if one.kind == "count"}
    assert counts == {
        "How many of these are in the picture: laptop?": ("1",),
        "How many of these are in the picture: chair?": ("2",),
    }
    there = {one.text: one.references[0] for one in desk.questions if one.kind == "presence"}
    assert there == {
        "Is there a laptop in the picture?": "yes",
        "Is there a chair in the picture?": "yes",
        "Is there a horse in the picture?": "no",
        "Is there an orange in the picture?": "no",
    }
    assert meadow.name != desk.name
    assert [one.kind for one in unknown.questions] == ["caption", "long caption"]
    long = coco.joined(["one two three four five six seven"] * 5, 3)
    assert len(long.split()) == 28
    (folder / "images" / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"metadata\.jsonl and its photographs cannot be read .*copy coco_cc/ again"):
        coco.coco(folder)


def parquet_file(path, **columns):
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_equal_drawings_and_emoji_are_on_one_side(module, tmp_path):
    parquets = module("parquets")
    train = parquet_file(
        tmp_path / "a.parquet",
        image=[png(1), png(2)],
        sentence=["There is 1 tower with a yellow block at the base", "x"],
        label=[False, True],
    )
    test = parquet_file(tmp_path / "b.parquet", image=[png(2)], sentence=["There is a box."], label=[True])
    sides = parquets.nlvr(train, test)
    assert [item.conversations for item in sides.train] == [
        ((("There is 1 tower with a yellow block at the base. Is this true?", "no"),),)
    ]
    assert sides.held_out[0].questions[0].text == "There is a box. Is this true?"
    names = [f"keycap {number // 2}" for number in range(60)]
    pictures = [png(number // 2) for number in range(60)]
    sides = parquets.emoji(
        parquet_file(tmp_path / "c.parquet", image=pictures, caption=names, category=["Symbols"] * 60)
    )
    learnt, held = ({item.picture for item in side} for side in (sides.train, sides.held_out))
    assert learnt
    assert held
    assert not learnt & held
    with pytest.raises(DataError, match=r"c\.parquet must have the columns image, sentence, label|cannot be read"):
        parquets.nlvr(tmp_path / "c.parquet", test)


def test_the_command_writes_what_training_and_evaluation_read(module, tmp_path, data_dir, monkeypatch, capsys):
    main = module("__main__").main
    file = str(wheel(tmp_path / "a.whl"))
    given = ["prepare", "--easy-vqa", file, "--output", str(tmp_path / "out")]
    monkeypatch.delenv("AR_DATA_DIR", raising=False)
    assert main(given) == 2
    assert "AR_DATA_DIR is not set" in capsys.readouterr().err
    monkeypatch.setenv("AR_DATA_DIR", str(data_dir))
    assert main(given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "easy_vqa: 3 conversations on 1 pictures, 3 questions on 1 others"
    out = tmp_path / "out"
    records, _ = read_conversations(out / "train.yaml")
    held = [
        one for name in module("prepare").SETS for one in read_requests(out / f"{name}_held_out.jsonl", None, limit=1)
    ]
    learnt = {record.data["image"] for record in records if "image" in record.data}
    asked = {str(path.relative_to(out)) for one in held for path in one.images}
    assert len(learnt) > 1700
    assert len(asked) > 400
    assert not learnt & asked
    assert not {(out / path).read_bytes() for path in learnt} & {(out / path).read_bytes() for path in asked}
    blind, _ = read_conversations(out / "blind_train.jsonl")
    assert len(blind) == len(records)
    assert not any("image" in record.data or "<image>" in str(record.data) for record in blind)
    priors = json.loads((out / "priors.json").read_text())
    assert sum(priors["statement"].values()) == 984
    before = {path: path.read_bytes() for path in out.rglob("*.jsonl")}
    assert main(given) == 0
    assert before == {path: path.read_bytes() for path in out.rglob("*.jsonl")}


def test_a_folder_of_something_else_is_not_replaced(module, tmp_path):
    (tmp_path / "only.jpg").write_bytes(b"irreplaceable")
    with pytest.raises(
        CheckpointError, match="is a folder that holds no sets of pictures and text, and would be replaced"
    ):
        next(module("prepare").write_all(tmp_path, tmp_path / "wheel", tmp_path))
    assert (tmp_path / "only.jpg").read_bytes() == b"irreplaceable"
