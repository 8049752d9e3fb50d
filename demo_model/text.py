"""The tokenizer and the tiny text encoder of the demo model.

The tokenizer knows the words of the caption grammar. Other words go through a table of near
synonyms, then through simple stems, then letter by letter, so that it takes any text.
"""

import json
import re
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

LENGTH = 32  # tokens of one encoded piece of text, start and end included
PAD, START, END, UNKNOWN = 0, 1, 2, 3
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
VOCABULARY = Path(__file__).with_name("vocabulary.json")
CONFIG = {"vocab_size": 320, "d_model": 128, "num_layers": 2, "num_heads": 4, "d_ff": 384, "length": LENGTH}


class WordTokenizer:
    """Words to numbers, in the small part of the transformers interface that ComfyUI calls."""

    def __init__(self, words: list[str], aliases: dict[str, str]):
        self.words = ["<pad>", "<start>", "<end>", "<unknown>"] + ["#" + c for c in LETTERS] + words
        self.index = {word: n for n, word in enumerate(self.words)}
        self.aliases = aliases
        if len(self.words) > CONFIG["vocab_size"]:
            raise ValueError(f"vocabulary: expected at most {CONFIG['vocab_size']} entries, got {len(self.words)}.")

    @classmethod
    def from_pretrained(cls, path: str | Path = VOCABULARY, **_) -> "WordTokenizer":
        """Read a vocabulary file."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(content["words"], content["aliases"])

    def spell(self, word: str) -> list[int]:
        """A word letter by letter."""
        return [self.index.get("#" + c, UNKNOWN) for c in word]

    def word(self, word: str) -> list[int]:
        """The tokens of one lower-case word."""
        for form in (
            word,
            word.removesuffix("s"),
            word + "s",
            word.removesuffix("es"),
            word.removesuffix("y"),
            word + "y",
        ):
            known = self.aliases.get(form, form)
            if all(part in self.index for part in known.split()):
                return [self.index[part] for part in known.split()]
        return self.spell(word[:12])

    def unknown(self, text: str) -> list[str]:
        """The words of a text that are only spelled, each once, numbers aside."""
        letters = set(self.spell(LETTERS)) | {UNKNOWN}
        found = dict.fromkeys(word for word in _words(text) if not word.isnumeric())
        return [word for word in found if len(word) > 1 and letters.issuperset(self.word(word))]

    def __call__(self, text: str) -> dict[str, list[int]]:
        """{"input_ids": [start, tokens of the words ..., end]}."""
        return {"input_ids": [START] + [token for word in _words(text) for token in self.word(word)] + [END]}

    def get_vocab(self) -> dict[str, int]:
        """Every token and its number."""
        return dict(self.index)

    def decode(self, tokens, skip_special_tokens: bool = True) -> str:
        """Tokens back to words."""
        kept = [self.words[t] for t in tokens if not (skip_special_tokens and t <= UNKNOWN)]
        return " ".join(kept)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def padded(tokens: list[int]) -> list[int]:
    """One line of tokens with start and end, cut or filled to LENGTH."""
    if len(tokens) > LENGTH:
        tokens = tokens[: LENGTH - 1] + [END]
    return tokens + [PAD] * (LENGTH - len(tokens))


def tokens_of(text: str, tokenizer: WordTokenizer, rng: np.random.Generator) -> list[int]:
    """A training caption's tokens, now and then with a word spelt or a meaningless word put in."""
    words = [
        tokenizer.word(w) if rng.random() > 0.02 else tokenizer.spell(w)
        for w in text.replace(",", " ").replace("-", " ").split()
    ]
    if words and rng.random() < 0.08:
        babble = "".join("bcdfghklmnprstvaeiou"[i] for i in rng.integers(20, size=int(rng.integers(3, 9))))
        words.insert(int(rng.integers(len(words) + 1)), tokenizer.spell(babble))
    return padded([START] + [t for w in words for t in w][: LENGTH - 2] + [END])


class Block(nn.Module):
    """Self-attention and a small feed-forward net, both before a norm and around a skip."""

    def __init__(self, width, heads, inner, dtype, device, operations):
        super().__init__()
        kind = dict(dtype=dtype, device=device)
        self.heads = heads
        self.norm1 = operations.LayerNorm(width, **kind)
        self.qkv = operations.Linear(width, 3 * width, **kind)
        self.out = operations.Linear(width, width, **kind)
        self.norm2 = operations.LayerNorm(width, **kind)
        self.up = operations.Linear(width, inner, **kind)
        self.down = operations.Linear(inner, width, **kind)

    def forward(self, x, mask):
        """x [B, T, C], mask [B, 1, 1, T] True where a token counts."""
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class TextEncoder(nn.Module):
    """A two-layer transformer over word tokens, with the interface that core's SDClipModel calls."""

    def __init__(self, config, dtype, device, operations):
        super().__init__()
        width = config["d_model"]
        self.num_layers = config["num_layers"]
        self.dtype = dtype
        self.tokens = operations.Embedding(config["vocab_size"], width, dtype=dtype, device=device)
        self.places = operations.Embedding(config["length"], width, dtype=dtype, device=device)
        self.blocks = nn.ModuleList(
            Block(width, config["num_heads"], config["d_ff"], dtype, device, operations) for _ in range(self.num_layers)
        )
        self.norm = operations.LayerNorm(width, dtype=dtype, device=device)

    def get_input_embeddings(self):
        """The token table; core looks tokens up itself."""
        return self.tokens

    def forward(self, input_ids, attention_mask=None, embeds=None, **_):
        """Token vectors [B, T, C] (or numbers [B, T]) -> (encoded [B, T, C], None)."""
        x = self.tokens(input_ids) if embeds is None else embeds
        place = torch.arange(x.shape[1], device=x.device).clamp(max=self.places.weight.shape[0] - 1)
        x = x + self.places(place).to(x)
        mask = None if attention_mask is None else attention_mask.bool()[:, None, None, :]
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x), None
