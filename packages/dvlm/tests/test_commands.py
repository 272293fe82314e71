"""`ar-decode vlm` and `eval-vlm`: answers, files, chats, and every mistake in one sentence."""

import json
import sys
import types
from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import pytest
import torch
from ar_core import registry
from ar_core.config import from_dict
from ar_core.errors import ArError, ConfigError, DataError, ResumeError, UnsupportedModelError
from ar_core.json_document import document, undocumented
from ar_core.pictures import read_picture
from dvlm.chat.byte_tokenizer import byte_tokenizer
from dvlm.chat.config import ChatConfig
from dvlm.chat.conversation import Turn
from dvlm.data.shapes import shape_picture
from dvlm.decoding import VLM
from dvlm.decoding.options import DecodingOptions
from dvlm.decoding.session import Session, open_session, session_of
from dvlm.evaluation import EVAL_VLM
from dvlm.images.config import ImageConfig
from dvlm.layouts.load import LoadedVL
from dvlm.layouts.save import save_vision_language
from dvlm.qwen_vl import QwenVL
from dvlm.settings import Diffusion, Settings
from PIL import Image
from tiny_vision_language import MASK, assembled, qwen2_5_vl


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """A converted checkpoint, three pictures and a file of questions."""
    root = tmp_path_factory.mktemp("vlm")
    settings = Settings(ChatConfig(system=None), ImageConfig(fit="stretch", max_images=3), diffusion=Diffusion(MASK, 4))
    for name, one in (("model", settings), ("autoregressive", replace(settings, diffusion=None))):
        save_vision_language(assembled().float(), root / name, one, tokenizer=tokenizer)
    for number in range(3):
        Image.fromarray(shape_picture(number)).resize((40 + 9 * number, 30)).save(root / f"{number}.png")
    questions = [
        {"id": "a", "image": "0.png", "prompt": "What shape?", "answer": "circle"},
        {"id": "b", "question": "No picture.", "answers": ["one", "two"]},
        {"id": "c", "image": ["1.png", "2.png"], "prompt": "<image> or <image>?", "answers": [{"answer": "no"}] * 10},
        {
            "id": "d", "image": "2.png",
            "conversations": [{"from": "human", "value": "<image>\nColour?"}, {"from": "gpt", "value": "red"}],
        },
    ]  # fmt: skip
    (root / "questions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    return root


def run(command, **settings):
    """As ``ar-decode`` runs an announced command, whose document holds what its help says."""
    result = registry.resolve(command.run)(from_dict(registry.resolve(command.options), settings))
    assert not undocumented(json.loads(document(result.data)), command.fields)
    return result


@pytest.fixture
def ask(folder):
    """Runs a command on the checkpoint."""

    def asked(command=VLM, **settings):
        return run(command, **{"model": str(folder / "model"), "max_new_tokens": 9, "device": "cpu", **settings})

    return asked


def test_commands_are_announced():
    assert registry.commands()["vlm"] == VLM
    assert registry.commands()["eval-vlm"] == EVAL_VLM


def test_one_prompt(ask, folder, capsys):
    """An image, several, none; as text, JSON, or a stream; fused and separate commits; AR checkpoints."""
    one = {"image": str(folder / "0.png"), "prompt": "What shape is it?"}
    said = ask(**one)
    asked = ask(**one, json=True)
    found = json.loads(asked)
    assert found["output"] == said
    assert json.loads(document(asked.data)) == found
    assert len(found["tokens"]) <= 9
    assert found["statistics"]["encoder"] == {"forwards": 1, "images": 1}
    method = found["settings"]["method"]
    assert (method["name"], method["mask_id"], method["diffusion_block_size"]) == ("diffusionvl", MASK, 4)
    capsys.readouterr()
    assert ask(**one, stream=True) == ""
    streamed = capsys.readouterr()
    assert streamed.out == said
    assert "1 images" in streamed.err
    separate = json.loads(ask(**one, json=True, decoding={"commit": "separate"}))
    assert separate["tokens"] == found["tokens"]
    several = json.loads(
        ask(images=[str(folder / "1.png"), str(folder / "2.png")], prompt="<image> <image>", json=True)
    )
    assert several["statistics"]["encoder"]["images"] == 2
    session = open_session(DecodingOptions(model=str(folder / "model"), max_new_tokens=9, device="cpu"))
    pictures = [read_picture(folder / f"{number}.png") for number in (1, 2)]
    in_order, swapped = (
        session.decode([session.prompt([Turn("user", "<image> <image>")], shown)]).tokens[0]
        for shown in (pictures, pictures[::-1])
    )
    assert several["tokens"] == in_order != swapped
    assert json.loads(ask(prompt="Hello", json=True))["statistics"]["encoder"] == {}
    stepped = json.loads(ask(**one, json=True, model=str(folder / "autoregressive"), method="ar"))
    assert (stepped["settings"]["method"], stepped["statistics"]["encoder"]["images"]) == ({"name": "ar"}, 1)


def test_answers_end_at_the_end_of_a_turn_and_never_hold_the_mask():
    """Also where neither model nor tokenizer call the end of a turn an end of text."""
    words, model = byte_tokenizer(), assembled()
    words.eos_token = "<|endoftext|>"
    model.language.config.eos_token_id = model.language.generation_config.eos_token_id = None
    settings = Settings(images=ImageConfig(fit="stretch"), diffusion=Diffusion(MASK, 4))
    session = session_of(LoadedVL(model, words, settings, "tiny"), DecodingOptions(model="tiny"))
    assert session.stop.stop_ids == {words.get_vocab()[token] for token in ("<|im_end|>", "<|endoftext|>")}
    assert session.sampler.banned_ids == (MASK,)


def test_a_base_of_the_hub_decodes_as_transformers_does():
    """The AR arm: Qwen2.5-VL's own template and positions, against `generate`, and a picture of its own ratio."""
    words = byte_tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<|vision_start|>", "<|vision_end|>"]})
    base = qwen2_5_vl()
    pad = base.config.image_token_id = 290
    options = DecodingOptions(model="tiny", max_new_tokens=10, max_pixels=6272)
    session = session_of(LoadedVL(QwenVL(base), words, None, "tiny"), options)
    prompt = session.prompt([Turn("user", "What?")], [np.array(Image.fromarray(shape_picture(0)).resize((90, 40)))])
    (image,) = prompt.images
    assert image.layout.columns > image.layout.rows
    before, after = (
        words.encode(text, add_special_tokens=False)
        for text in (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>",
            "<|vision_end|>What?<|im_end|>\n<|im_start|>assistant\n",
        )
    )
    ids = torch.tensor([[*before, *[pad] * image.layout.tokens, *after]])
    expected = base.generate(
        input_ids=ids, pixel_values=image.pixels.double(), image_grid_thw=torch.tensor([[1, *image.layout.patches]]),
        mm_token_type_ids=(ids == pad).long(), attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False,
        eos_token_id=sorted(session.stop.stop_ids), pad_token_id=0,
    )  # fmt: skip
    wanted = expected[0, ids.shape[1] :].tolist()
    ends = [place for place, token in enumerate(wanted) if token in session.stop.stop_ids]
    assert session.decode([prompt]).tokens == [wanted[: ends[0]] if ends else wanted]


def test_a_file_of_questions(ask, folder, tmp_path, monkeypatch):
    """In batches and alone the same, also when sampled; an interrupted run goes on, with its own settings only."""
    source = {"input": str(folder / "questions.jsonl"), "temperature": 1.0}
    monkeypatch.setenv("PLACE", str(tmp_path))
    assert ask(**source, output=str(tmp_path / "a.jsonl")).startswith("4 answers written")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["a", "b", "c", "d"]
    assert lines[2]["images"] == [str(folder / "1.png"), str(folder / "2.png")]
    ask(**source, output=str(tmp_path / "b.jsonl"), batch_size=3, statistics="$PLACE/s.json")
    assert (tmp_path / "b.jsonl").read_text() == (tmp_path / "a.jsonl").read_text()
    statistics = json.loads((tmp_path / "s.json").read_text())
    assert statistics["encoder"]["images"] == 4
    assert sum(statistics["generated"]) == sum(len(line["tokens"]) for line in lines)

    plain, calls = Session.decode, []

    def failing(self, prompts, **more):
        calls.append(more["first_index"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(self, prompts, **more)

    monkeypatch.setattr(Session, "decode", failing)
    target = str(tmp_path / "c.jsonl")
    with pytest.raises(KeyboardInterrupt):
        ask(**source, output=target)
    assert not (tmp_path / "c.jsonl").exists()
    with pytest.raises(ResumeError, match="another max_new_tokens"):
        ask(**source, output=target, max_new_tokens=5)
    ask(**source, output=target)
    assert calls == [0, 1, 2, 2, 3]
    assert (tmp_path / "c.jsonl").read_text() == (tmp_path / "a.jsonl").read_text()
    with pytest.raises(ConfigError, match="exists already"):
        ask(**source, output=target)


def test_a_chat_carries_the_conversation(folder, capsys, monkeypatch, tmp_path):
    """Its image stands in the first question and is encoded once, whatever the model says."""
    from dvlm.decoding import vlm_command

    plain = vlm_command.Session.text
    monkeypatch.setattr(vlm_command.Session, "text", lambda self, ids: f"an <image>: {plain(self, ids)}")
    lines = iter(["What?", "And now?", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    asked = []
    session_prompt = vlm_command.Session.prompt
    monkeypatch.setattr(
        vlm_command.Session,
        "prompt",
        lambda self, turns, pictures, place="the prompt": (
            asked.append((list(turns), len(pictures))) or session_prompt(self, turns, pictures, place)
        ),
    )
    chat = {"image": str(folder / "0.png"), "chat": True, "statistics": str(tmp_path / "s.json")}
    assert run(VLM, model=str(folder / "model"), max_new_tokens=5, device="cpu", **chat) == ""
    assert [len(turns) for turns, _ in asked] == [1, 3]
    assert [count for _, count in asked] == [1, 1]
    said = asked[1][0][1]
    assert said.role == "assistant"
    assert said.text.removeprefix("an : ") in capsys.readouterr().out
    assert [turn.text for turn in asked[1][0] if turn.role == "user"] == ["<image>\nWhat?", "And now?"]
    assert "<image>" not in said.text
    assert json.loads((tmp_path / "s.json").read_text())["encoder"] == {"forwards": 1, "images": 1}


def test_a_picture_of_a_chat_stays_where_it_stood(folder, monkeypatch):
    lines = iter(["What?", "Is <image> what you saw?", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    chat = {"image": str(folder / "0.png"), "chat": True, "max_new_tokens": 2, "device": "cpu"}
    refused(DataError, "the text has 2 places", lambda: run(VLM, model=str(folder / "model"), **chat))


def refused(error, says, call):
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, ArError)
    assert says in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def test_mistakes_are_one_sentence(ask, folder, tmp_path):
    """Bad, missing and extreme images; places and images that do not agree; settings that contradict each other."""
    picture = str(folder / "0.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    for name in ("bad.png", "cut.png", "absent.png"):
        refused(DataError, name, lambda name=name: ask(image=str(tmp_path / name), prompt="What?"))
    refused(DataError, "the text has 2 places", lambda: ask(image=picture, prompt="<image> <image>"))
    refused(DataError, "1 places for images (<image>) and 0 images", lambda: ask(prompt="<image> what?"))
    refused(DataError, "2 images were given", lambda: ask(images=[picture] * 2, prompt="<image> what?"))
    refused(DataError, "4 images and at most 3", lambda: ask(images=[picture] * 4, prompt="what?"))
    refused(DataError, "context is 512", lambda: ask(prompt="x" * 600))
    refused(ConfigError, "exactly one of prompt, input and chat", lambda: ask())
    refused(ConfigError, "output go together", lambda: ask(input="a.jsonl"))
    refused(ConfigError, "there is no method 'diffusion'", lambda: ask(prompt="a", method="diffusion"))
    refused(ConfigError, "unknown key 'decoding.tau'", lambda: ask(prompt="a", decoding={"tau": 1}))
    refused(ConfigError, "temperature", lambda: ask(prompt="a", temperature=-1.0))
    refused(ConfigError, "fit 'native' needs a tower", lambda: ask(prompt="a", fit="native"))
    refused(ConfigError, "max_pixels is given", lambda: ask(prompt="a", max_pixels=5000))
    refused(ConfigError, "knows no threshold", lambda: ask(prompt="a", decoding={"threshold": 0.5}))

    def of(*records):
        (tmp_path / "q.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
        return lambda: ask(input=str(tmp_path / "q.jsonl"), output=str(tmp_path / "o.jsonl"), image_root=str(folder))

    refused(DataError, "has no question", of({"image": "0.png"}))
    refused(DataError, "prompt is ''", of({"prompt": ""}))
    refused(DataError, "does not exist", of({"prompt": "a", "image": "9.png"}))
    refused(DataError, "does not exist", of({"prompt": "a", "image": "9" * 300 + ".png"}))
    refused(DataError, "the id 'a' of", of({"id": "a", "prompt": "b"}, {"id": "a", "prompt": "c"}))
    refused(DataError, "1 places for images", of({"prompt": "<image>", "image": ["0.png", "1.png"]}))
    # An id of null is none.
    refused(DataError, "the id '1' of", of({"id": None, "prompt": "b"}, {"id": "1", "prompt": "c"}))
    assert not (tmp_path / "o.jsonl").exists()


def test_a_large_picture_is_scaled_to_the_limit(folder, tmp_path):
    """Above `max_pixels` a picture is scaled down, as documented; the limit of files is `ar_core.pictures`'s."""
    from dvlm.images.processor import PatchProcessor

    config = ImageConfig(fit="native", min_pixels=784, max_pixels=7840)
    assert PatchProcessor(config)(np.zeros((900, 700, 3), np.uint8)).layout.tokens <= 10


def test_evaluation(ask, folder, tmp_path, monkeypatch):
    """Accuracy from the very answers, and what they cost; caption metrics; AR in the same engine."""
    source = {"input": str(folder / "questions.jsonl")}
    line = ask(EVAL_VLM, **source, output=str(tmp_path / "r.json"))
    report = json.loads((tmp_path / "r.json").read_text())
    assert line.startswith("4 questions: exact_match 0.000")
    assert report["questions"] == 4
    assert report["decoding"]["nfe"] == sum(report["decoding"]["forwards"].values())
    answers = [json.loads(one) for one in (tmp_path / "r.json.answers.jsonl").read_text().splitlines()]
    questions = [json.loads(one) for one in (folder / "questions.jsonl").read_text().splitlines()]
    for question, found in zip(questions, answers):
        question.pop("answers", None)
        question["answer"] = found["output"].strip() or "nothing"
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    monkeypatch.setenv("PICTURES", str(folder))
    right = {"input": str(tmp_path / "own.jsonl"), "image_root": "$PICTURES"}
    ask(EVAL_VLM, **right, output=str(tmp_path / "own.json"))
    assert json.loads((tmp_path / "own.json").read_text())["metrics"]["exact_match"] == 1
    ask(EVAL_VLM, **right, metric="captions", output=str(tmp_path / "captions.json"))
    metrics = json.loads((tmp_path / "captions.json").read_text())["metrics"]
    assert set(metrics) == {"bleu", "chrf", "rouge_l"}
    assert metrics["chrf"] == pytest.approx(100)
    plain = Session.text
    monkeypatch.setattr(Session, "text", lambda self, ids: f"{plain(self, ids)}\nBecause.")
    for cut, expected in (("none", 0), ("first_line", 1)):
        ask(EVAL_VLM, **right, cut=cut, output=str(tmp_path / f"{cut}.json"))
        assert json.loads((tmp_path / f"{cut}.json").read_text())["metrics"]["exact_match"] == expected
    (tmp_path / "none.jsonl").write_text('{"prompt": "a"}\n')
    refused(
        DataError, "has no reference",
        lambda: ask(EVAL_VLM, input=str(tmp_path / "none.jsonl"), output=str(tmp_path / "n.json")),
    )  # fmt: skip


def test_an_evaluation_goes_on_wherever_it_ended(ask, folder, tmp_path, monkeypatch):
    """Between batches, before the answers are written, and between answers and report: the report is that of a run to the end."""
    from dvlm.evaluation import eval_vlm_command

    source = {"input": str(folder / "questions.jsonl"), "batch_size": 2}
    whole, own = tmp_path / "whole.json", tmp_path / "own.json"
    ask(EVAL_VLM, **source, output=str(whole))

    def killed(*_):
        raise KeyboardInterrupt

    decode, calls = Session.decode, []
    once = lambda *a, **k: killed() if calls else calls.append(1) or decode(*a, **k)  # noqa: E731
    for where, name, end in (
        (Session, "decode", once), (eval_vlm_command, "write_answers", killed), (eval_vlm_command, "environment", killed),
    ):  # fmt: skip
        with monkeypatch.context() as patched:
            patched.setattr(where, name, end)
            with pytest.raises(KeyboardInterrupt):
                ask(EVAL_VLM, **source, output=str(own))
        assert not own.exists()
    assert (tmp_path / "own.json.answers.jsonl").exists()
    monkeypatch.setattr(Session, "decode", killed)
    ask(EVAL_VLM, **source, output=str(own))
    reports = [json.loads(path.read_text()) for path in (whole, own)]
    for report in reports:
        report["decoding"] = {k: v for k, v in report["decoding"].items() if "second" not in k}
        report.pop("environment")
    assert reports[0] == reports[1]
    assert [path.name for path in tmp_path.glob("own*")] == ["own.json", "own.json.answers.jsonl"]
    own.unlink()
    refused(ConfigError, "answers.jsonl' exists already", lambda: ask(EVAL_VLM, **source, output=str(own)))


def test_lmms_eval_model(folder, monkeypatch):
    """Against a stand-in of the interface of lmms-eval 0.7.3, which is not in the lock file."""

    class Interface(ABC):
        def __init__(self):
            self.task_dict = {}

        @abstractmethod
        def loglikelihood(self, requests): ...

        @abstractmethod
        def generate_until(self, requests): ...

        @abstractmethod
        def generate_until_multi_round(self, requests): ...

    for name in ("lmms_eval", "lmms_eval.api", "lmms_eval.api.model"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["lmms_eval.api.model"].lmms = Interface
    monkeypatch.delitem(sys.modules, "dvlm.evaluation.lmms_model", raising=False)
    from dvlm.evaluation.lmms_model import DvlmModel

    model = DvlmModel(str(folder / "model"), batch_size="2", device="cpu", cut="none", max_images=9, commit="separate")
    assert model._session.processor.config.max_images == 9
    documents = [{"image": Image.open(folder / f"{number}.png")} for number in range(3)]
    model.task_dict = {"toy": {"test": documents}}

    def request(number, kwargs):
        return types.SimpleNamespace(args=(f"Question {number}", kwargs, lambda d: [d["image"]], number, "toy", "test"))

    short, long = {"max_new_tokens": 3, "until": ["\n\n"]}, {"max_new_tokens": 8, "until": "\n\n"}
    found = model.generate_until([request(0, short), request(1, short), request(2, long)])
    alone = open_session(model._session.options)
    prompt = alone.prompt([Turn("user", "Question 0")], [np.asarray(documents[0]["image"].convert("RGB"))])
    expected = alone.text(alone.decode([prompt]).tokens[0])
    assert expected.startswith(found[0])
    assert model.stats.encoder["images"] == 3
    assert max(model.stats.generated) <= 8
    # A task's text ends an answer to the character, and its length holds, unless told.
    letter = next(one for one in expected[1:6] if "!" <= one <= "~" and one != expected[0])
    (cut,) = model.generate_until([request(0, {"max_new_tokens": 8, "until": [letter]})])
    assert cut == expected[: expected.index(letter)]
    free = DvlmModel(str(folder / "model"), device="cpu", cut="none", max_new_tokens=11, task_limits=False)
    free.task_dict = model.task_dict
    greedy = {"do_sample": True, "temperature": 0, "top_p": 0.9}
    free.generate_until([request(0, {"max_new_tokens": 3, "until": [letter], **greedy})])
    assert free.stats.generated == [11]
    # Marks that are not as many as the images go.
    twice = types.SimpleNamespace(args=("<image>Question 0<image>", short, lambda d: [d["image"]], 0, "toy", "test"))
    assert model.generate_until([twice]) == [found[0]]
    for wrong in ({"batch_size": "auto"}, {"cut": "line"}):
        refused(ConfigError, next(iter(wrong)), lambda wrong=wrong: DvlmModel(str(folder / "model"), **wrong))
    with pytest.raises(UnsupportedModelError):
        model.loglikelihood([])
    monkeypatch.delitem(sys.modules, "dvlm.evaluation.lmms_model")
