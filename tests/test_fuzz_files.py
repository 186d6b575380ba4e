"""Files that users give, of any content: each is taken, or refused in one line, and code in them is never run."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers.cli import succeed
from helpers.fuzz import TEXT, assert_no_traceback, bytes_changed, call, examples, tabs_changed, toml_changed
from helpers.image_files import encode, pixels
from helpers.known import small_model
from helpers.logs import log
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save as save_safely
from torch import Tensor

from suite.data import load
from suite.errors import UserError
from suite.statistics.bounds import certified_radius

pytestmark = pytest.mark.slow

# checkpoints

GOOD = {name.removeprefix("network."): tensor for name, tensor in small_model().state_dict().items()}
KEYS = st.sampled_from([0, -1, 1.5, None, True, b"key", ("a", 1), "", ".", "network", "a" * 500, "\ud800", "\0"]) | TEXT


def quantised(x: Tensor) -> Tensor:
    return torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8)


ODD: list[Callable[[Tensor], Any]] = [
    lambda x: x.to_sparse(), lambda x: torch.empty_like(x, device="meta"), quantised, lambda x: x.long(),
    lambda x: x.to(torch.complex64), lambda x: x.bool(), lambda x: x.half(),
    lambda x: x.to(torch.float8_e5m2),
    lambda x: x.double() * 1e300, lambda x: x * float("nan"), lambda x: x.flatten()[:0], lambda x: x.flatten(),
    lambda x: x.unsqueeze(0), lambda x: x.sum(), lambda x: x.sum().expand(x.shape),
    lambda x: x.T if x.dim() == 2 else x,
    lambda x: x.numpy(), lambda x: x.tolist(), lambda x: str(x), lambda x: None, lambda x: 7, lambda x: {},
    lambda x: [x],
    lambda x: {"inner": x}, lambda x: torch.nn.Parameter(x.float()), lambda x: torch.nested.nested_tensor([x, x]),
    lambda x: x.to_mkldnn() if x.is_floating_point() else x, lambda x: np.float32(1), lambda x: x.untyped_storage(),
    lambda x: x.to_sparse_csr() if x.dim() == 2 else x, lambda x: torch.sparse_coo_tensor([[9]], [1.0], (10,)),
]  # fmt: skip


class Code:
    """Pickled, it is a call: to load it would make a file or a folder of this name."""

    def __init__(self, marker: str, how: int):
        quoted = f"__import__('os').mkdir({marker!r})"
        self.call = [
            (__import__("os").system, (f"mkdir {marker}",)), (eval, (quoted,)), (exec, (quoted,)),
            (__import__("os").mkdir, (marker,)), (__import__("shutil").copytree, (".", marker)),
            (__import__("subprocess").call, (["mkdir", marker],)), (open, (marker, "w")), (torch.save, ({}, marker)),
            (Path.mkdir, (Path(marker),)), (np.save, (marker, 1)), (getattr, (__import__("os"), "system")),
            (__import__("importlib").import_module, ("antigravity",)), (torch.hub.load, (".", "x")),
        ][how]  # fmt: skip

    def __reduce__(self) -> Any:
        return self.call


CALLS = 13


@st.composite
def checkpoints(draw: st.DrawFn, marker: str) -> bytes:
    """A checkpoint's file, some of whose keys, tensors, dicts or bytes are odd, or which has code in it."""
    state: Any = dict(GOOD)
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(list(GOOD)))
        state[name] = draw(st.sampled_from(ODD))(GOOD[name])
    for _ in range(draw(st.integers(0, 2))):
        state[draw(KEYS)] = state.pop(draw(st.sampled_from([key for key in state])))
    if draw(st.integers(0, 9)) == 0:
        state = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
        try:
            return draw(bytes_changed(save_safely({key: value.contiguous() for key, value in state.items()})))
        except (ValueError, RuntimeError, KeyError, TypeError):  # what safetensors does not keep, as sparse tensors
            state = dict(GOOD)
    for _ in range(draw(st.integers(0, 2))):
        wrap = draw(st.sampled_from(["state_dict", "model", "list", "ordered", "two", "deep", "code"]))
        state = {
            "list": [state], "ordered": OrderedDict(state) if isinstance(state, dict) else state,
            "two": {"a": state, "b": state, "optimizer": {"state": 1}},
            "deep": {"a": {"b": {"c": {"d": {"e": state}}}}},
        }.get(wrap, {wrap: state})  # fmt: skip
    if draw(st.booleans()):
        code = Code(marker, draw(st.integers(0, CALLS - 1)))
        state = draw(st.sampled_from([code, [state, code], {"state_dict": state, "args": code}, {code.call[0]: state}]))
    try:
        content = written(state, draw(st.integers(0, 6)))
    except (RuntimeError, TypeError, ValueError, AttributeError, pickle.PicklingError):  # what torch does not save
        content = written(dict(GOOD), 6)
    return draw(st.just(content) | bytes_changed(content))


def written(state: Any, how: int) -> bytes:
    """Plain pickle of protocol 0 to 4, or what torch saves now (6) or saved once (5)."""
    if how < 5:
        return pickle.dumps(state, protocol=how)
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=how == 6)
    return buffer.getvalue()


@pytest.fixture
def no_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else a checkpoint might fit is not looked for: that builds every architecture."""
    monkeypatch.setattr("suite.pipeline.fitting", lambda *_: [])


@pytest.mark.usefixtures("no_guess")
@given(data=st.data())
@examples(25)
def test_a_checkpoint_of_any_content_runs_nothing(data: st.DataObject) -> None:
    with TemporaryDirectory() as place:
        file, marker = Path(place, "mine.pt"), Path(place, "marker")
        file.write_bytes(data.draw(checkpoints(str(marker))))
        arch = data.draw(st.sampled_from([["--arch", "cnn"]] * 20 + [[]]))
        about = ["--checkpoint", file, "--dataset", "digits", "--sigma", "0.25", "--runs", Path(place, "runs")]
        assert_no_traceback(call("certify", *about, *arch, "--dry-run"))
        assert not marker.exists()
        assert [each.name for each in Path(place).iterdir()] == ["mine.pt"]


# TOML and logs

CONFIG = b"""method = "heat"
dataset = "digits"
profile = "demo"
sigma = [0.1, 0.25]
seed = 0
protocols = ["accuracy", "certify"]
kappa = 4
training.epochs = 1
[certify]
images = 10
n = 100
sampling = "fixed"
[start.training]
lr = 0.1
"""
EXPERIMENT = b"""title = "Mine"
dataset = "digits"
sigmas = [0.1, 0.25]
seeds = [0]
[methods]
baseline = {}
heat = { kappa = 4, "training.epochs" = 1 }
[settings]
profile = "demo"
images = 10
n = 100
"""
BOARD = b"""title = "Mine"
radii = [0.1, 0.25]
norm = "l2"
top = 1
sigma = 0.25
sort = "acr"
classes = 10
images = 100
"""


def any_change(content: bytes, own: Callable[[bytes], st.SearchStrategy[bytes]]) -> st.SearchStrategy[bytes]:
    """A file changed once or twice as what it is, or as bytes."""
    return bytes_changed(content) | own(content) | own(content) | own(content).flatmap(lambda c: own(c or b"\n"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a board of one's own that has a row."""
    place = tmp_path_factory.mktemp("files")
    (place / "boards").mkdir()
    (place / "boards" / "mine.toml").write_bytes(BOARD)
    succeed("import", log(place / "a_noise_0.25_sigma_0.25.tsv", *LOG), *ABOUT, "--board-root", place / "boards")
    return place


LOG = [f"{i}\t1\t1\t{float(certified_radius(99_000 + 9 * i, 100_000, 0.001, 0.25)):.6f}\t1\t0.1" for i in range(60)]
ABOUT = ["--board", "mine", "--method", "mine", "--citation", "A. B., NeurIPS 2020"]


@given(content=any_change(CONFIG, toml_changed))
@examples(10)
def test_a_config_of_any_content(place: Path, content: bytes) -> None:
    (place / "config.toml").write_bytes(content)
    assert_no_traceback(call("run", "--config", place / "config.toml", "--runs", place / "runs", "--dry-run"))


@given(content=any_change(EXPERIMENT, toml_changed))
@examples(10)
def test_an_experiment_of_any_content(place: Path, content: bytes) -> None:
    (place / "own.toml").write_bytes(content)
    assert_no_traceback(call("experiment", place / "own.toml", "--runs", place / "runs", "--dry-run"))


@given(content=any_change(BOARD, toml_changed), form=st.sampled_from(["table", "json", "markdown"]))
@examples(10)
def test_a_board_of_any_content(place: Path, content: bytes, form: str) -> None:
    file = place / "boards" / "mine.toml"
    file.write_bytes(content)
    root = ["--board-root", place / "boards"]
    assert_no_traceback(call("leaderboard", "mine", *root, "--runs", place / "runs", "--format", form))
    file.write_bytes(BOARD)


@given(
    content=any_change(
        "".join(f"{line}\n" for line in ["idx\tlabel\tpredict\tradius\tcorrect\ttime", *LOG]).encode(), tabs_changed
    )
)
@examples(10)
def test_a_log_of_any_content(place: Path, content: bytes) -> None:
    file = place / "b_noise_0.25_sigma_0.25.tsv"
    file.write_bytes(content)
    assert_no_traceback(call("import", file, *ABOUT, "--board-root", place / "boards", "--replace"))
    if call("leaderboard", "mine", "--board-root", place / "boards", "--runs", place / "runs").code:
        raise AssertionError("a log that was taken takes the board down")


# images


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


PNGS = [encode(array) for array in pixels(4, 8, 8)]
IMAGES: list[Any] = [
    pa.array([{"bytes": png, "path": None} for png in PNGS]), pa.array(PNGS), pa.array([None] * 4, pa.binary()),
    pa.array([{"bytes": None, "path": "x.png"}] * 4), pa.array(["x.png"] * 4), pa.array([1, 2, 3, 4]),
    pa.array([[1, 2]] * 4), pa.array([[[[0] * 3] * 8] * 8] * 4, pa.list_(pa.list_(pa.list_(pa.uint8())))),
    pa.array([{"bytes": b"", "path": None}, *({"bytes": png, "path": None} for png in PNGS[1:])]), pa.nulls(4),
    pa.array([{"bytes": b"not an image", "path": ""}] * 4), pa.array([{"path": "/etc/passwd"}] * 4),
]  # fmt: skip
LABELS: list[Any] = [
    pa.array([0, 1, 2, 1]), pa.array([0, None, 1, 2]), pa.array([-1, 0, 1, 2]), pa.array([0, 10**12, 1, 2]),
    pa.array(["a", "b", "c", "b"]), pa.array([0.5, 1.0, 2.0, float("nan")]), pa.array([True, False, True, True]),
    pa.array([[0], [1], [2], [1]]), pa.nulls(4), pa.array([2**63] * 4, pa.uint64()), pa.array([b"\xff"] * 4),
    pa.array([0, 0, 0, 0]), pa.array([1, 2, 3, 2]),
]  # fmt: skip
FEATURES = [b"", b"{", b"[]", b"null", b'{"info": 1}', b'{"info": {"features": {"label": {"names": ["a"]}}}}',
            b'{"info": {"features": {"label": {"names": 3, "_type": "ClassLabel"}}}}',
            b'{"info": {"features": {"label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}}}', b"[" * 99_999,
            b'{"info": {"features": {"label": {"names": [1, null, {}], "_type": "ClassLabel"}}}}']  # fmt: skip
NAMES = st.sampled_from(["image", "img", "label", "labels", "fine_label", "", "x", "é"])


@st.composite
def parquets(draw: st.DrawFn) -> bytes:
    first = draw(st.integers(0, 2)) > 0
    columns = [draw(st.just(each[0]) | st.sampled_from(each)) for each in (IMAGES, LABELS)]
    names = ["image", "label"] if first else draw(st.lists(NAMES, min_size=2, max_size=2, unique=True))
    table = pa.table(dict(zip(names, columns, strict=True))).slice(0, draw(st.sampled_from([4, 4, 4, 1, 0])))
    if draw(st.booleans()):
        table = table.replace_schema_metadata({"huggingface": draw(st.sampled_from(FEATURES))})
    content = parquet(table)
    return draw(st.just(content) | bytes_changed(content))


def load_whole(folder: Path) -> None:
    """Load a data set and all of its images; what cannot be is said in a UserError."""
    try:
        data = load(str(folder))
        for split in (data.train, data.test):
            split[torch.arange(len(split))]
    except UserError as error:
        said = str(error)
    else:
        return
    assert len(said) > 5
    assert "\n" not in said


@given(train=parquets(), test=parquets())
@examples(15)
def test_parquet_of_any_content(train: bytes, test: bytes) -> None:
    with TemporaryDirectory() as place:
        for split, content in (("train", train), ("test", test)):
            Path(place, f"{split}-00000-of-00001.parquet").write_bytes(content)
        load_whole(Path(place))


def picture(kind: str, mode: str, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header says other sizes than its pixels have."""
    content = bytearray(PNGS[0])
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = __import__("zlib").crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


PICTURES = [
    PNGS[1], encode(pixels(1, 8, 8)[0], "JPEG"), encode(pixels(1, 8, 8)[0], "BMP"), encode(pixels(1, 8, 8)[0], "WEBP"),
    *(picture("PNG", mode, (8, 8)) for mode in ("1", "L", "LA", "P", "RGBA", "I;16")), picture("GIF", "P", (8, 8)),
    picture("JPEG", "CMYK", (8, 8)), picture("TIFF", "F", (8, 8)), picture("PNG", "RGB", (1, 1)), bomb(2**31 - 1, 8),
    picture("PNG", "RGB", (300, 2)), bomb(60_000, 60_000), bomb(12_000, 12_000), bomb(0, 0), bomb(8, 9), b"", b"text",
]  # fmt: skip


@given(data=st.data())
@examples(15)
def test_images_of_any_content(data: st.DataObject) -> None:
    with TemporaryDirectory() as place:
        for split in ("train", "test"):
            for name in ("ant", "bee"):
                Path(place, split, name).mkdir(parents=True)
                for number in range(2):
                    Path(place, split, name, f"{number}.png").write_bytes(PNGS[number])
        content = data.draw(st.sampled_from(PICTURES))
        ending = data.draw(st.sampled_from(["png", "jpg", "JPEG", "gif", "txt", "webp", "tiff"]))
        split = data.draw(st.sampled_from(["train", "test"]))
        Path(place, split, "bee", f"odd.{ending}").write_bytes(data.draw(st.just(content) | bytes_changed(content)))
        load_whole(Path(place))
