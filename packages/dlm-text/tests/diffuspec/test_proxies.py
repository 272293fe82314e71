"""Oracle 11: n-gram proxies are distributions, count as by hand, and agree with ARPA files."""

import math
from collections import Counter, defaultdict

import pytest
import torch
from ar_core.errors import CheckpointError, ConfigError, DataError, MissingPackageError
from dlm_text.diffuspec.arpa import read_arpa
from dlm_text.diffuspec.backoff_model import BackoffModel
from dlm_text.diffuspec.kneser_ney import FALLBACK_DISCOUNTS, fit_kneser_ney
from dlm_text.diffuspec.prompt_proxy import PromptProxy
from dlm_text.diffuspec.proxy import UniformProxy, load_proxy

V = 9
CORPUS = [[1, 2, 3, 1, 2], [4, 1, 2, 3, 3]]


def p(proxy, context, token):
    """p(token | context) through the tensors."""
    history = proxy.begin([context])[:, None]
    return float(proxy.score(history, torch.tensor([[token]])).double().exp())


def by_hand(corpus, vocab_size, order=3):
    """Modified Kneser-Ney with dictionaries, from its definition."""
    counts = defaultdict(Counter)
    for ids in corpus:
        marked = ["<s>", *ids]
        for n in range(1, order + 1):
            for end in range(max(n, 2), len(marked) + 1):
                counts[n][tuple(marked[end - n : end])] += 1
    adjusted = {order: counts[order]}
    for n in range(1, order):
        left = Counter(gram[1:] for gram in counts[n + 1])
        adjusted[n] = {g: counts[n][g] if g[0] == "<s>" else left[g] for g in counts[n]}

    def discount(n, a):
        c = Counter(adjusted[n].values())
        if min(c[i] for i in range(1, 5)) == 0:
            return FALLBACK_DISCOUNTS[min(a, 3) - 1]
        y = c[1] / (c[1] + 2 * c[2])
        d = [i - (i + 1) * y * c[i + 1] / c[i] for i in (1, 2, 3)]
        ok = all(0 <= x <= i for i, x in enumerate(d, start=1))
        return d[min(a, 3) - 1] if ok else FALLBACK_DISCOUNTS[min(a, 3) - 1]

    def conditional(history, token):
        n = len(history) + 1
        beginning = {g: a for g, a in adjusted[n].items() if g[:-1] == history}
        total = sum(beginning.values())
        below = 1 / vocab_size if n == 1 else conditional(history[1:], token)
        if not total:
            return below
        a = beginning.get((*history, token), 0)
        freed = sum(discount(n, b) for b in beginning.values()) / total
        return (a - discount(n, a) if a else 0) / total + freed * below

    return lambda context, token: conditional(tuple(["<s>", *context][-(order - 1) :]) if order > 1 else (), token)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_kneser_ney_equals_hand_counts(order):
    """On a corpus of ten tokens."""
    model, expected = fit_kneser_ney(CORPUS, V, order=order), by_hand(CORPUS, V, order)
    for context in ([], [1], [1, 2], [2, 3], [7], [3, 1], [7, 1], [1, 7], [4, 1, 2], [1, 2, 3, 1]):
        for token in range(V):
            assert p(model, context, token) == pytest.approx(expected(context, token), rel=1e-5)


def test_kneser_ney_with_estimated_discounts():
    generator = torch.Generator().manual_seed(0)
    weights = torch.tensor([0.4, 0.2, 0.1, 0.1, 0.08, 0.06, 0.04, 0.02])
    corpus = [torch.multinomial(weights, 9, replacement=True, generator=generator).tolist() for _ in range(30)]
    model, expected = fit_kneser_ney(corpus, V), by_hand(corpus, V)
    for context in ([], [0], [0, 1], [5, 7], [8, 8], [2, 0, 0]):
        for token in range(V):
            assert p(model, context, token) == pytest.approx(expected(context, token), rel=1e-5)


def proxies():
    prompt = PromptProxy(V)
    return {"kneser-ney": fit_kneser_ney(CORPUS, V), "uniform": UniformProxy(V), "prompt": prompt}


@pytest.mark.parametrize("name", ["kneser-ney", "uniform", "prompt"])
def test_every_context_has_a_distribution(name):
    """Seen and unseen contexts sum to one."""
    proxy = proxies()[name]
    contexts = [[1, 2], [2, 3], [7, 7], [1], [4, 1, 2, 3, 3, 8, 1, 2]]
    histories = proxy.begin(contexts)
    everything = torch.arange(V).expand(len(contexts), -1)
    # Histories that the search makes up: those of the rows, and tokens that never met.
    beams = torch.stack([histories, histories.flip(-1), torch.full_like(histories, 6)], 1)
    scores = proxy.score(beams, everything).double()
    assert scores.shape == (5, 3, V)
    assert torch.allclose(scores.exp().sum(-1), torch.ones(5, 3, dtype=torch.float64), atol=1e-6)


def test_ids_beyond_the_vocabulary_are_unlikely_but_no_error():
    model = fit_kneser_ney(CORPUS, V)
    assert 0 < p(model, [1, V + 5], V + 3) < 0.2
    assert p(model, [1, V + 5], 1) == pytest.approx(p(model, [7, 8], 1))


def test_prompt_counts_by_hand():
    context = [1, 2, 3, 1, 2]
    uni = {t: (context.count(t) + 1 / V) / (5 + 1) for t in range(V)}
    after_2 = {t: ((1 if t == 3 else 0) + uni[t]) / (1 + 1) for t in range(V)}
    after_12 = {t: ((1 if t == 3 else 0) + after_2[t]) / (1 + 1) for t in range(V)}
    for token in range(V):
        assert p(PromptProxy(V), context, token) == pytest.approx(after_12[token])


def test_prompt_rows_are_counted_separately():
    proxy = PromptProxy(V)
    contexts = [[1, 2, 1, 2, 1], [5, 6, 7, 5, 6, 7, 5]]
    together = proxy.score(proxy.begin(contexts)[:, None], torch.arange(V).expand(2, -1))
    for row, context in enumerate(contexts):
        alone = proxy.score(proxy.begin([context])[:, None], torch.arange(V)[None])
        assert torch.equal(together[row], alone[0])


def test_saved_and_read_again(tmp_path):
    model = fit_kneser_ney(CORPUS, V)
    model.save(tmp_path / "proxy.safetensors")
    again = load_proxy(str(tmp_path / "proxy.safetensors"), V)
    assert isinstance(again, BackoffModel)
    history, ids = model.begin([[1, 2], [9, 3]])[:, None], torch.arange(V).expand(2, -1)
    assert torch.equal(model.score(history, ids), again.score(history, ids))
    with pytest.raises(ConfigError, match="9 ids and the verifier has 10"):
        load_proxy(str(tmp_path / "proxy.safetensors"), 10)


ARPA = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-1.2\t<unk>
-99\t<s>\t-0.3
-0.9\t</s>
-0.6\t1\t-0.25
-0.8\t2\t-0.125

\\2-grams:
-0.2\t<s> 1\t-0.1
-0.4\t1 2\t-0.5
-0.7\t2 </s>
-0.35\t2 1\t0

\\3-grams:
-0.05\t<s> 1 2
-0.15\t1 2 1

\\end\\
"""


def test_an_arpa_file_gives_its_own_scores_times_ln_10(tmp_path):
    (tmp_path / "m.arpa").write_text(ARPA)
    model = read_arpa(tmp_path / "m.arpa", V, end_id=0)
    ln = math.log(10)
    for context, token, decadic in [
        ([1], 2, -0.05),
        ([1, 2], 1, -0.15),
        ([1, 2], 0, -0.5 - 0.7),
        ([1, 2], 2, -0.5 - 0.125 - 0.8),
        ([2, 1], 2, 0 - 0.4),
        ([], 1, -0.2),
        ([], 2, -0.3 - 0.8),
        ([5, 2], 1, -0.35),
        ([5, 5], 2, -0.8),
        ([1, 2], 5, -0.5 - 0.125 - 1.2),
    ]:
        assert math.log(p(model, context, token)) == pytest.approx(decadic * ln, abs=1e-4)


def test_kenlm_agrees_with_the_arpa_reader(tmp_path):
    pytest.importorskip("kenlm")
    from dlm_text.diffuspec.kenlm_proxy import KenLMProxy

    (tmp_path / "m.arpa").write_text(ARPA)
    ours, theirs = read_arpa(tmp_path / "m.arpa", V, end_id=0), KenLMProxy(tmp_path / "m.arpa", end_id=0)
    contexts = [[], [1], [1, 2], [2, 1], [5, 2], [5, 5], [2, 1, 2]]
    ids = torch.arange(V).expand(len(contexts), -1)
    scores = [model.score(model.begin(contexts)[:, None], ids) for model in (ours, theirs)]
    assert torch.allclose(*scores, atol=1e-4)


def test_a_kenlm_binary_needs_kenlm(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "kenlm", None)
    (tmp_path / "m.klm").write_bytes(b"mmap lm")
    with pytest.raises(MissingPackageError, match="pip install kenlm"):
        load_proxy(str(tmp_path / "m.klm"), V)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "ends without"),
        (ARPA.replace("\\end\\", ""), "ends without"),
        (ARPA.replace("1 2 1", "1 2 cat"), "the word 'cat'"),
        (ARPA.replace("1 2 1", "2 2 1"), "begins with 2 2"),
        (ARPA.replace("-0.4\t", "x\t"), "Line 15"),
        (ARPA.replace("\\2-grams:", "\\3-grams:"), "Line 13"),
        (
            ARPA.replace("\\2-grams:\n", "\\2-grams:\n-0.1\t1 2\n-0.1\t1 2\n"),
            "Line 15 of .* has the n-gram '1 2' a second time",
        ),
    ],
)
def test_damaged_arpa_files(tmp_path, text, message):
    (tmp_path / "m.arpa").write_text(text)
    with pytest.raises(DataError, match=message.replace("\\", "\\\\")):
        read_arpa(tmp_path / "m.arpa", V)


def test_what_is_no_proxy(tmp_path):
    with pytest.raises(ConfigError, match="uniform, prompt, or the path"):
        load_proxy("nothing-here", V)
    with pytest.raises(DataError, match="no token"):
        fit_kneser_ney([[], []], V)
    with pytest.raises(DataError, match="id 9"):
        fit_kneser_ney([[1, 9]], V)
    from ar_core.io import write_tensors

    write_tensors(tmp_path / "other.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="no n-gram model"):
        load_proxy(str(tmp_path / "other.safetensors"), V)
