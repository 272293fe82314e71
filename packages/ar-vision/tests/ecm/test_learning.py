"""Some steps on codes that their control decides: what is drawn under it follows, and what the base draws does not."""

import torch
from ar_core.corruption import SampleRng
from ar_core.training import Job, TrainConfig, mean_loss, train
from ar_vision.backbones.scale_transformer.objective import TERM
from ar_vision.ecm.controls.config import ControlConfig
from ar_vision.ecm.decode import ControlDecoding, generate
from ar_vision.ecm.objective import EcmObjective
from ar_vision.ecm.objective_config import EcmObjectiveConfig
from ar_vision.ecm.prefix_law import PrefixLaw
from ar_vision.pixels import to_signed

DARK, BRIGHT = 3, 17
READ = (ControlConfig(kind="depth", maps="read"),)


class Halves:
    """Maps of dark and bright quarters; a code is one of two, by how bright its cell is."""

    def __init__(self, schedule):
        self.schedule = schedule

    def open(self, start):
        index = start
        while True:
            generator = torch.Generator().manual_seed(index)
            cells = torch.randint(2, (1, 1, 2, 2), generator=generator).float()
            codes = []
            for size in self.schedule.sizes:
                bright = torch.nn.functional.interpolate(cells, size=size, mode="area" if size[0] < 3 else "nearest")
                codes.append(torch.where(bright.flatten() > 0.5, BRIGHT, DARK))
            image = (cells[0] * 255).to(torch.uint8).repeat_interleave(8, 1).repeat_interleave(8, 2).expand(3, -1, -1)
            yield {"index": index, "codes": torch.cat(codes), "label": torch.tensor(0), "kind": 0, "map": image}
            index += 1

    def describe(self):
        return {}


def test_after_some_steps_images_follow_their_control(base, make_controller, var_tokenizer):
    ecm = make_controller(fresh=True)
    models, source = {"model": ecm, "base": base, "tokenizer": var_tokenizer}, Halves(base.schedule)
    config = EcmObjectiveConfig(prefixes=PrefixLaw(p_full=0.5), control_dropout=0.1)
    objective = EcmObjective(config, base, ecm, READ, 16)
    settings = TrainConfig(steps=120, batch_size=16, lr=1e-2, warmup_steps=10, schedule="cosine", device="cpu")
    train(Job(objective=objective, models=models, source=source), settings)
    ecm.eval()
    stream = source.open(10_000)
    samples = [next(stream) for _ in range(24)]
    full = EcmObjectiveConfig(prefixes=PrefixLaw(law="full"), control_dropout=0.0, label_dropout=0.0)
    judge = EcmObjective(full, base, ecm, READ, 24)
    right = mean_loss(judge, models, samples, batch_size=24)[TERM]
    wrong = mean_loss(judge, models, [{**one, "map": 255 - one["map"]} for one in samples], batch_size=24)[TERM]
    assert right < 0.5 * wrong
    prepared = judge.prepare(samples, SampleRng(0))
    maps, wanted = to_signed(prepared.tensors["maps"]), torch.cat([one["codes"][None] for one in samples])

    def share(strength):
        options = ControlDecoding(temperature=0.0, late_temperature=0.0, guidance=1.0, strength=strength)
        drawn = generate(base, ecm, var_tokenizer, maps, [0] * 24, options)
        return float((torch.cat(drawn.codes, dim=1) == wanted).float().mean())

    controlled, free = share(1.0), share(0.0)
    assert controlled > 0.8
    assert controlled > free + 0.4
