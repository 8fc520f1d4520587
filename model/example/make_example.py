#!/usr/bin/env python3
"""Makes the demo's data: one real layer of a trained Llama, and the inputs that it really receives.

    python3 model/example/make_example.py MODEL_FOLDER

MODEL_FOLDER holds config.json, tokenizer.json, model.safetensors.index.json with its shards, heldout.txt and
reference.json (a prompt's ids and its last logits in fp32). Written beside this script:

    down_proj.safetensors   model.layers.3.mlp.down_proj.weight as the model stores it, f16 [512, 1536]
    down_proj_x.npy         what that layer receives for the first 64 tokens of heldout.txt, f16 [64, 1536]

The forward pass is written out below in fp32. It is believed only if it gives the reference's logits, and the tokens
only if they are the reference's; otherwise nothing is written. The build does not run this. Needs numpy, tokenizers.
"""
import json
import pathlib
import sys

import numpy as np
import tokenizers

LAYER, TOKENS = 3, 64
DTYPES = {"F16": np.float16, "F32": np.float32}


class Weights:
    """The tensors of a sharded safetensors model, by name."""

    def __init__(self, folder):
        self.folder = folder
        self.shards = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]

    def stored(self, name):
        with open(self.folder / self.shards[name], "rb") as f:
            header = json.loads(f.read(length := int.from_bytes(f.read(8), "little")))
            entry = header[name]
            begin, end = entry["data_offsets"]
            f.seek(8 + length + begin)
            data = np.frombuffer(f.read(end - begin), DTYPES[entry["dtype"]])
        return entry["dtype"], data.reshape(entry["shape"])

    def __getitem__(self, name):
        return self.stored(name)[1].astype(np.float32)


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def rotate(x, theta):
    """Rotary embedding of x[head, position, d]: element i turns with element i + d/2."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None] / theta ** (np.arange(half) / half)
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def attention(x, weights, layer, config):
    heads, kv_heads, d = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]

    def project(name, count):
        y = x @ weights[f"{layer}.self_attn.{name}.weight"].T
        return y.reshape(len(x), count, d).transpose(1, 0, 2)

    theta = config["rope_parameters"]["rope_theta"]
    q = rotate(project("q_proj", heads), theta)
    k = np.repeat(rotate(project("k_proj", kv_heads), theta), heads // kv_heads, 0)
    v = np.repeat(project("v_proj", kv_heads), heads // kv_heads, 0)
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(np.float32(d))
    scores += np.triu(np.full(scores.shape[1:], -np.inf, np.float32), 1)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    y = (scores / scores.sum(-1, keepdims=True)) @ v
    return y.transpose(1, 0, 2).reshape(len(x), heads * d) @ weights[f"{layer}.self_attn.o_proj.weight"].T


def forward(ids, weights, config):
    """The logits of every position, and what each layer's down_proj receives."""
    eps, received = config["rms_norm_eps"], []
    embedding = weights["model.embed_tokens.weight"]
    x = embedding[ids]
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        x = x + attention(rms_norm(x, weights[f"{layer}.input_layernorm.weight"], eps), weights, layer, config)
        y = rms_norm(x, weights[f"{layer}.post_attention_layernorm.weight"], eps)
        gate, up = (y @ weights[f"{layer}.mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        received.append(gate / (1 + np.exp(-gate)) * up)
        x = x + received[-1] @ weights[f"{layer}.mlp.down_proj.weight"].T
    assert config["tie_word_embeddings"]
    return rms_norm(x, weights["model.norm.weight"], eps) @ embedding.T, received


def write_safetensors(path, name, dtype, tensor):
    entry = {"dtype": dtype, "shape": tensor.shape, "data_offsets": [0, tensor.nbytes]}
    header = json.dumps({name: entry}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + tensor.tobytes())


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    model, here = pathlib.Path(sys.argv[1]), pathlib.Path(__file__).resolve().parent
    config = json.loads((model / "config.json").read_text())
    reference = json.loads((model / "reference.json").read_text())
    weights = Weights(model)

    logits, _ = forward(reference["prompt_ids"], weights, config)
    difference = np.abs(logits[-1] - np.array(reference["last_logits"])).max()
    print(f"largest difference from the reference's logits: {difference:.2e}")
    if not difference < 1e-3:
        sys.exit("the forward pass is not the reference's: nothing written")

    text = (model / "heldout.txt").read_text()[: TOKENS * 40]
    ids = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json")).encode(text).ids[:TOKENS]
    if ids != reference["heldout_ids_first"][:TOKENS]:
        sys.exit("the tokens are not the reference's: nothing written")
    _, received = forward(ids, weights, config)
    x = received[LAYER].astype(np.float16)
    np.save(here / "down_proj_x.npy", x)

    name = f"model.layers.{LAYER}.mlp.down_proj.weight"
    dtype, w = weights.stored(name)
    write_safetensors(here / "down_proj.safetensors", name, dtype, w)
    print(f"{name}: {dtype} {list(w.shape)}; inputs: f16 {list(x.shape)}, |x| up to {np.abs(x).max():.2f}")


if __name__ == "__main__":
    main()
