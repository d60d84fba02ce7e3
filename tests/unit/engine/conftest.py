"""A tiny random BERT folder."""

import pytest
import torch

from heliostat.commands.tiny import write_model


@pytest.fixture(scope="package")
def bert_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert") / "model"
    write_model(folder)
    return folder


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Tiny models are fastest on one thread, and more only wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
