"""Good files made bad: bytes, plain values and tensors, at random places, by a seed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml

ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1,
        2**31,
        2**63,
        10**400,
        -0.0,
        1e308,
        float("nan"),
        float("inf"),
        0.5,
        "",
        "0",
        "nan",
        [],
        {},
    ),
    *(
        "\x1b[31m",
        "a\nb",
        "\ud800",
        "../../outside",
        "/etc/passwd",
        "x" * 6000,
        "~",
        "C:\\",
        "!!python/object:os.system",
    ),
    *([[]], {"": {}}, [None] * 3, "2026-01-01", "\x00", "\u202e", list(range(1000))),
)
"""Values that stand where others belong."""

ODD_TENSORS = (
    lambda tensor: tensor.double().fill_(float("nan")),
    lambda tensor: tensor.double().fill_(float("inf")),
    lambda tensor: tensor[:0],
    lambda tensor: tensor.reshape(-1),
    lambda tensor: tensor.unsqueeze(0),
    lambda tensor: tensor.to(torch.complex64),
    lambda tensor: tensor.to(torch.int8),
    lambda tensor: tensor.to_sparse() if tensor.ndim else tensor,
    lambda tensor: tensor.to("meta"),
    lambda tensor: tensor.new_zeros(1).expand(1 << 20),
)


def mutate(path: Path, random: Random) -> str:
    """Change a file in place; in words, what was done."""
    ways = [_mutate_bytes] * 2
    if path.suffix in {".json", ".jsonl", ".yaml", ".txt", ".csv", ".xml"}:
        ways.append(_mutate_lines)
    if path.suffix == ".json":
        ways += [_mutate_json] * 4
    if path.suffix == ".yaml":
        ways += [_mutate_yaml] * 4
    if path.suffix == ".pth":
        ways = [_mutate_bytes, *[_mutate_checkpoint] * 4]
    return random.choice(ways)(path, random)


def _mutate_bytes(path: Path, random: Random) -> str:
    data = bytearray(path.read_bytes())
    start = random.randrange(len(data) + 1)
    length = min(random.choice((1, 4, 64, 4096)), len(data) - start)
    way = random.choice(("cut", "flip", "zero", "insert", "repeat", "leave out", "empty", "other encoding"))
    if way == "cut":
        del data[start:]
    elif way == "flip" and data:
        for _ in range(random.choice((1, 8, 100))):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif way == "zero":
        data[start : start + length] = bytes(length)
    elif way == "insert":
        data[start:start] = random.randbytes(length or 1)
    elif way == "repeat":
        data[start:start] = data[start : start + length] * random.choice((1, 100))
    elif way == "leave out":
        del data[start : start + length]
    elif way == "empty":
        data.clear()
    else:
        data = bytearray(b"\xff\xfe" + bytes(data).decode("latin-1").encode("utf-16-le"))
    path.write_bytes(data)
    return f"{path.name}: {way} at {start}"


def _mutate_lines(path: Path, random: Random) -> str:
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True) or [""]
    number = random.randrange(len(lines))
    way = random.choice(("leave out", "repeat", "odd value", "nest", "swap"))
    if way == "leave out":
        del lines[number]
    elif way == "repeat":
        lines[number:number] = [lines[number]] * random.choice((1, 1000, 20_000))
    elif way == "odd value":
        head, mark, _ = lines[number].partition(random.choice((":", " ", ",", "=")))
        lines[number] = f"{head}{mark} {_text(random.choice(ODD))}\n"
    elif way == "nest":
        lines[number] = random.choice("[{(") * random.choice((10, 100_000)) + lines[number]
    else:
        other = random.randrange(len(lines))
        lines[number], lines[other] = lines[other], lines[number]
    path.write_text("".join(lines), encoding="utf-8", errors="surrogatepass")
    return f"{path.name}: {way} in line {number + 1}"


def _mutate_json(path: Path, random: Random) -> str:
    content = json.loads(path.read_text(encoding="utf-8"))
    # Two changes at once, such as NaN and half a letter: the one opens the way that reads the other.
    where = " and ".join(_change_somewhere(content, random) for _ in range(random.choice((1, 1, 2))))
    text = json.dumps(content, ensure_ascii=random.random() < 0.5)
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return f"{path.name}: {where}"


def _mutate_yaml(path: Path, random: Random) -> str:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    where = _change_somewhere(content, random)
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8", errors="replace")
    return f"{path.name}: {where}"


def _mutate_checkpoint(path: Path, random: Random) -> str:
    content = torch.load(path, map_location="cpu", weights_only=True)
    where = _change_somewhere(content, random)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(buffer.getvalue())
    return f"{path.name}: {where}"


def _change_somewhere(content: Any, random: Random) -> str:
    """Replace, leave out or rename a part of nested lists and dictionaries; the way to it."""
    parent, way = content, []
    while True:
        keys: list[Any] = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        if not keys:
            return "nothing"
        key = random.choice(keys)
        way.append(str(key))
        inner = parent[key]
        if not isinstance(inner, dict | list) or not inner or random.random() < 0.15:
            break
        parent = inner
    if isinstance(inner, torch.Tensor) and random.random() < 0.8:
        parent[key] = random.choice(ODD_TENSORS)(inner)
        return f"{'/'.join(way)} is an odd tensor"
    what = random.random()
    if what < 0.2:
        del parent[key]
        return f"{'/'.join(way)} left out"
    if what < 0.3 and isinstance(parent, dict):
        parent[str(random.choice(ODD))] = parent.pop(key)
        return f"{'/'.join(way)} renamed"
    odd = random.choice(ODD)
    if what < 0.35:
        for _ in range(random.choice((5, 100))):
            odd = [odd]
    parent[key] = odd
    return f"{'/'.join(way)} = {str(odd)[:40]!a}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
