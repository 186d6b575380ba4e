"""Images on a page. What is needed of data and models stays in memory for a while, and never more than one of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import streamlit as st
from torch import Tensor, nn
from torch.nn import functional as F

from suite.data import Dataset, InMemory
from suite.errors import UserError
from suite.spec.run_spec import RunSpec
from suite.store.read import read_spec
from suite.viewer import View, load_data, load_model, view

SIDE = 160  # pixels on the page: two beside each other on a phone
WHILE = 600  # seconds that data and a model are kept


def data_of(folder: Path, root: Path | None) -> Dataset:
    """The test images of a run's data; UserError where they are not available."""
    return _data(read_spec(folder), root)


def view_of(folder: Path, root: Path | None, index: int, n: int) -> tuple[View, Dataset]:
    """An image of a run as its model sees it; UserError where checkpoint or data are not available."""
    file = folder / "model.safetensors"
    if not file.exists():  # before the data, which take long to read
        raise UserError(
            f"{folder.name} has no weights here, so there is nothing to show: its command trains the network again"
        )
    spec = read_spec(folder)
    data = _data(spec, root)
    return view(_model(spec, data, folder, file.stat().st_mtime_ns), spec, data, index, n=n), data


def show_image(image: Tensor, caption: str, side: int = SIDE) -> None:
    """An image (C, H, W) with sharp pixels; values outside of [0,1] are clipped for the eye."""
    large = F.interpolate(image[None].clamp(0, 1), (side, side), mode="nearest")[0]
    pixels = large.permute(1, 2, 0).squeeze(2).numpy() if len(large) == 1 else large.permute(1, 2, 0).numpy()
    with st.container(width=side):
        st.image(pixels, width=side, alt=caption, output_format="PNG")
        st.text(caption)


@st.cache_resource(show_spinner="loading the data", max_entries=1, ttl=WHILE, hash_funcs={RunSpec: lambda s: s.data})
def _data(spec: RunSpec, root: Path | None) -> Dataset:
    return without_training(load_data(spec, root))


def without_training(data: Dataset) -> Dataset:
    """The data with an empty training split where that lies in memory, which is most of it."""
    if not isinstance(data.train, InMemory):
        return data
    return replace(data, train=InMemory(data.train.images[:0].clone(), data.train.labels[:0].clone()))


@st.cache_resource(show_spinner="loading the model", max_entries=1, ttl=WHILE, hash_funcs={RunSpec: lambda s: s.name})
def _model(spec: RunSpec, _data: Dataset, folder: Path, stamp: int) -> nn.Module:
    return load_model(folder, spec, _data)
