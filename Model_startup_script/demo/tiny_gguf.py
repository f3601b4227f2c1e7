"""Tiny model files (GGUF) written number by number: real engines load them, nothing was trained.

chat       llama architecture. The output matrix holds how often one token follows another in TEXT,
           so the engine writes readable sentences.
embedding  bert architecture that hardly mixes the words: a true bag-of-words similarity.
reranker   the same with a scoring head and random weights: stable scores without a meaning.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

TEXT = """\
Hello there. I am a very small language model made for tests. I was not trained on anything but this page.
A model manager starts a server when a request comes in. It waits until the server is ready. Then it sends the request to the server and streams the answer back.
When no request comes for some time, the manager stops the server. The memory is free again. Another model can use the memory.
The server answers with tokens. Each token is a small piece of text. A token can be a word or a part of a word. The answer ends with a stop token.
Small models are fast. Large models are slow to load. A good test uses a small model, because a small model is ready in less than a second.
I can write short sentences. I can not think. I can count tokens. You can ask me for more text. Hello again.
The quick brown fox jumps over the lazy dog. The dog sleeps in the sun. The fox runs to the river. The river is cold and clear.
"""  # noqa: E501
WORD = re.compile(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+")

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
END_OF_TEXT, TURN, END_OF_TURN = CONTROL = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

SEED = 1  # every machine makes the same files
LAYERS = 2
CHAT_CONTEXT, CHAT_HEADS, CHAT_INNER = 4096, 1, 64
BERT_CONTEXT, BERT_WIDTH, BERT_HEADS, BERT_INNER = 512, 64, 4, 128


def write(kind: str, out: Path) -> None:
    """Write the model of this kind: "chat", "embedding" or "reranker"."""
    if kind == "chat":
        write_chat_model(out)
    else:
        write_bert_model(out, reranker=kind == "reranker")


# --- chat -----------------------------------------------------------------------------------------


def write_chat_model(out: Path) -> None:
    merges = learn_merges(TEXT)
    tokens = list(dict.fromkeys([*BYTES.values(), *("".join(pair) for pair in merges), *CONTROL]))
    while len(tokens) % 32:  # the engine likes round widths
        tokens.append(f"<|unused{len(tokens)}|>")
    ids = {token: number for number, token in enumerate(tokens)}
    width = len(
        tokens
    )  # one dimension per token: the hidden state simply says which token came last

    w = gguf.GGUFWriter(out, "llama")
    w.add_name("demo-chat")
    w.add_context_length(CHAT_CONTEXT)
    w.add_embedding_length(width)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(CHAT_INNER)
    w.add_head_count(CHAT_HEADS)
    w.add_head_count_kv(CHAT_HEADS)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(width // CHAT_HEADS)
    w.add_vocab_size(width)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)

    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([token_type(token) for token in tokens])
    w.add_token_merges([" ".join(pair) for pair in merges])
    w.add_bos_token_id(ids[END_OF_TEXT])
    w.add_eos_token_id(ids[END_OF_TURN])
    w.add_pad_token_id(ids[END_OF_TEXT])
    w.add_add_bos_token(False)
    w.add_chat_template(CHAT_TEMPLATE)

    random = np.random.default_rng(SEED)

    def noise(*shape: int) -> npt.NDArray[Any]:
        return (random.standard_normal(shape) * 1e-4).astype(np.float16)

    # The root mean square norm makes the one-hot state sqrt(width) high: divide it out.
    output = followers(ids, merges).T / math.sqrt(width)
    w.add_tensor("token_embd.weight", np.eye(width, dtype=np.float16))
    w.add_tensor("output_norm.weight", np.ones(width, np.float32))
    w.add_tensor("output.weight", output.astype(np.float16))
    for layer in range(LAYERS):  # they run, and change next to nothing
        block = f"blk.{layer}."
        for name in ("attn_norm", "ffn_norm"):
            w.add_tensor(f"{block}{name}.weight", np.ones(width, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            w.add_tensor(f"{block}{name}.weight", noise(width, width))
        w.add_tensor(f"{block}ffn_gate.weight", noise(CHAT_INNER, width))
        w.add_tensor(f"{block}ffn_up.weight", noise(CHAT_INNER, width))
        w.add_tensor(f"{block}ffn_down.weight", noise(width, CHAT_INNER))
    save(w)


def followers(ids: dict[str, int], merges: list[tuple[str, str]]) -> npt.NDArray[Any]:
    """Row per token: the logarithms of how likely each other token comes next in TEXT."""
    newline, end = ids[BYTES[ord("\n")]], ids[END_OF_TURN]
    count = np.zeros((len(ids), len(ids)))
    for line in TEXT.splitlines():  # the template ends in a newline: an answer starts after one
        sentence = [newline, *(ids[token] for token in encode(line, merges)), end]
        for token, following in pairwise(sentence):
            known = np.count_nonzero(count[token])
            # What came first counts a little more, so that temperature 0 never meets a tie.
            count[token, following] += 1 if count[token, following] else max(0.5, 1 - known / 20)
    count[count.sum(axis=1) == 0, newline] = 1
    logarithm = np.log(np.maximum(count, 1e-9))
    likely: npt.NDArray[Any] = np.maximum(logarithm - logarithm.max(axis=1, keepdims=True), -20.0)
    return likely


def visible_bytes() -> dict[int, str]:
    """The printable stand-in for each byte in GPT-2's vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {
        byte: chr(256 + n) for n, byte in enumerate(hidden)
    }


BYTES = visible_bytes()


def learn_merges(text: str) -> list[tuple[str, str]]:
    """Byte pair encoding, until each word of the text is one token."""
    words = Counter(tuple(BYTES[byte] for byte in word.encode()) for word in WORD.findall(text))
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for pair in pairwise(word):
                pairs[pair] += times
        if not pairs:
            return merges
        merges.append(max(pairs, key=lambda pair: (pairs[pair], pair)))
        words = Counter({merge(word, merges[-1]): times for word, times in words.items()})


def encode(text: str, merges: list[tuple[str, str]]) -> list[str]:
    tokens: list[str] = []
    for found in WORD.findall(text):
        word = tuple(BYTES[byte] for byte in found.encode())
        for pair in merges:
            word = merge(word, pair)
        tokens += word
    return tokens


def merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return tuple(merged)


def token_type(token: str) -> gguf.TokenType:
    if token in CONTROL or (token.startswith("[") and token.endswith("]") and len(token) > 2):
        return gguf.TokenType.CONTROL
    return gguf.TokenType.UNUSED if token.startswith("<|unused") else gguf.TokenType.NORMAL


# --- embedding and reranker -----------------------------------------------------------------------


def write_bert_model(out: Path, *, reranker: bool) -> None:
    words = sorted(set(re.findall(r"[a-z]+", TEXT.lower())))
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    # llama.cpp's form of WordPiece: the start of a word carries U+2581, a continuation nothing.
    starts = [f"\u2581{piece}" for piece in letters + words]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(starts + letters)]

    w = gguf.GGUFWriter(out, "bert")
    w.add_name("demo-reranker" if reranker else "demo-embedding")
    w.add_context_length(BERT_CONTEXT)
    w.add_embedding_length(BERT_WIDTH)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(BERT_INNER)
    w.add_head_count(BERT_HEADS)
    w.add_layer_norm_eps(1e-12)
    w.add_causal_attention(False)
    w.add_vocab_size(len(tokens))
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    w.add_pooling_type(gguf.PoolingType.RANK if reranker else gguf.PoolingType.MEAN)

    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("default")
    w.add_token_list(tokens)
    w.add_token_types([token_type(token) for token in tokens])
    w.add_token_type_count(2)
    w.add_pad_token_id(0)
    w.add_unk_token_id(1)
    w.add_bos_token_id(2)
    w.add_key_value("tokenizer.ggml.cls_token_id", 2, gguf.GGUFValueType.UINT32)
    w.add_eos_token_id(3)
    w.add_sep_token_id(3)
    w.add_mask_token_id(4)

    random = np.random.default_rng(SEED)

    def normal(*shape: int, scale: float) -> npt.NDArray[Any]:
        return (random.standard_normal(shape) * scale).astype(np.float16)

    def add_linear(name: str, rows: int, columns: int, scale: float) -> None:
        w.add_tensor(f"{name}.weight", normal(rows, columns, scale=scale))
        w.add_tensor(f"{name}.bias", np.zeros(rows, np.float32))

    def add_norm(name: str) -> None:
        w.add_tensor(f"{name}.weight", np.ones(BERT_WIDTH, np.float32))
        w.add_tensor(f"{name}.bias", np.zeros(BERT_WIDTH, np.float32))

    mixing = 0.3 if reranker else 1e-3
    positions = normal(BERT_CONTEXT, BERT_WIDTH, scale=0.01).astype(np.float32)
    w.add_tensor("token_embd.weight", normal(len(tokens), BERT_WIDTH, scale=1.0))
    w.add_tensor("token_types.weight", np.zeros((2, BERT_WIDTH), np.float32))
    w.add_tensor("position_embd.weight", positions)
    add_norm("token_embd_norm")
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add_linear(block + name, BERT_WIDTH, BERT_WIDTH, mixing)
        add_linear(f"{block}ffn_up", BERT_INNER, BERT_WIDTH, mixing)
        add_linear(f"{block}ffn_down", BERT_WIDTH, BERT_INNER, mixing)
        add_norm(f"{block}attn_output_norm")
        add_norm(f"{block}layer_output_norm")
    if reranker:
        w.add_classifier_output_labels(["score"])
        add_linear("cls", BERT_WIDTH, BERT_WIDTH, 0.2)
        add_linear("cls.output", 1, BERT_WIDTH, 0.5)
    save(w)


def save(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
