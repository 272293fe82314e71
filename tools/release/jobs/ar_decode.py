"""The tiny job of ar-decode: a file of prompts for a random model, one token a pass and by lookup, with equal tokens."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

letters = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
words = Tokenizer(models.BPE(vocab=letters, merges=[]))
words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained("model")
torch.manual_seed(0)
heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 1}
shape = LlamaConfig(vocab_size=len(letters), hidden_size=32, intermediate_size=32, max_position_embeddings=128, **heads)
LlamaForCausalLM(shape).save_pretrained("model")

Path("prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in ("1+1=", "12+30=")))
command = [Path(sys.executable).with_name("ar-decode"), "text", "model", "--input", "prompts.jsonl", "-n", "12"]
found = []
for method in ("ar", "lookup"):
    subprocess.run([*command, "--method", method, "--output", f"{method}.jsonl"], check=True, stdout=subprocess.DEVNULL)
    found.append([json.loads(line)["tokens"] for line in Path(f"{method}.jsonl").read_text().splitlines()])
assert len(found[0]) == 2
assert found[0] == found[1]
print("2 prompts, lookup writes what ar writes")
