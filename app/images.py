"""Images on a page; data and models stay in memory between its runs."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from torch import Tensor, nn
from torch.nn import functional as F

from suite.data import Dataset
from suite.spec.run_spec import RunSpec
from suite.store.read import read_spec
from suite.viewer import View, load_data, load_model, view

SIDE = 160  # pixels on the page: two beside each other on a phone


def data_of(folder: Path, root: Path | None) -> Dataset:
    """The data of a run; UserError where they are not available."""
    return _data(read_spec(folder), root)


def view_of(folder: Path, root: Path | None, index: int, n: int) -> tuple[View, Dataset]:
    """An image of a run as its model sees it; UserError where data or checkpoint are not available."""
    spec = read_spec(folder)
    data = _data(spec, root)
    file = folder / "model.safetensors"
    model = _model(spec, data, folder, file.stat().st_mtime_ns if file.exists() else 0)
    return view(model, spec, data, index, n=n), data


def show_image(image: Tensor, caption: str, side: int = SIDE) -> None:
    """An image (C, H, W) with sharp pixels; values outside of [0,1] are clipped for the eye."""
    large = F.interpolate(image[None].clamp(0, 1), (side, side), mode="nearest")[0]
    pixels = large.permute(1, 2, 0).squeeze(2).numpy() if len(large) == 1 else large.permute(1, 2, 0).numpy()
    with st.container(width=side):
        st.image(pixels, width=side, alt=caption, output_format="PNG")
        st.text(caption)


@st.cache_resource(show_spinner="loading the data", max_entries=2, hash_funcs={RunSpec: lambda spec: spec.data})
def _data(spec: RunSpec, root: Path | None) -> Dataset:
    return load_data(spec, root)


@st.cache_resource(show_spinner="loading the model", max_entries=4, hash_funcs={RunSpec: lambda spec: spec.name})
def _model(spec: RunSpec, _data: Dataset, folder: Path, stamp: int) -> nn.Module:
    return load_model(folder, spec, _data)
