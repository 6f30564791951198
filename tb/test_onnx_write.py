"""Our own network files: what is written is read again, and computes the same in ONNX Runtime."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_graphs import assert_equal_networks
from oracles import as_integers, fits_float32, run_onnx, run_torch
from random_graphs import LIMITS, random_graph
from random_networks import (
    Choices,
    generator,
    random_chain,
    random_images,
    random_network,
    random_parameters,
)
from random_numbers import random_numbers

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import read_onnx, write_onnx
from convstream.model.network import reference
from convstream.model.network.codes import Codes
from convstream.model.network.exponents import Shifts, power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Add, AvgPool, Conv, Linear, MaxPool
from convstream.model.network.quantised import QuantisedNetwork

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("case", range(60))
def test_random_network(seed, case, tmp_path):
    """What is read is what was written; every feature map and logit equals PyTorch's and, where
    float32 holds the sums, ONNX Runtime's."""
    rng = generator(seed, "qdq", case)
    quantised = random_network(rng)
    images = random_images(rng, quantised)
    path = tmp_path / "network.onnx"
    write_onnx(quantised, path)
    assert os.listdir(tmp_path) == ["network.onnx"]
    assert_equal_networks(read_onnx(path), quantised)
    content = path.read_bytes()
    write_onnx(quantised, path)
    assert path.read_bytes() == content
    onnx.checker.check_model(onnx.load(path), full_check=True)
    expected = reference.features(quantised, images)
    for name, found in run_torch(quantised, images).items():
        np.testing.assert_array_equal(found, expected[name], err_msg=name)
    if fits_float32(quantised):
        check_in_onnx_runtime(path, quantised, images)


def check_in_onnx_runtime(path: Path, quantised: QuantisedNetwork, images: np.ndarray) -> None:
    """Compare every feature map and the logits, as the standard says and with all optimisations,
    where operators are fused into integer kernels."""
    expected = reference.features(quantised, images)
    inner = [node.name for node in quantised.network.nodes[:-1]]
    with_maps = onnx.load(path)
    for name in inner:
        with_maps.graph.output.append(
            helper.make_tensor_value_info(f"{name}_output:0", TensorProto.UINT8, None)
        )
    for model in (with_maps, path):
        for optimise in (False, True):
            logits, *maps = run_onnx(model, images, optimise)
            found = dict(zip(inner, maps, strict=False))
            found[quantised.network.output.name] = as_integers(logits, quantised)
            for name, values in found.items():
                wanted = expected[name]
                np.testing.assert_array_equal(values.reshape(wanted.shape), wanted, err_msg=name)


@pytest.mark.parametrize("case", range(30))
def test_random_numbers(seed, case, tmp_path):
    """Any layers, graphs, scales, zero points, types and activations are read as written."""
    choices = Choices(generator(seed, "numbers", case))
    network = random_graph(choices) if case % 2 else random_chain(choices, LIMITS)
    quantised = random_numbers(choices, network, powers=case % 3 == 0)
    path = tmp_path / "network.onnx"
    write_onnx(quantised, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert_equal_networks(read_onnx(path), quantised)


@pytest.mark.parametrize("layer", [AvgPool(2, 1), Add()], ids=str)
def test_activation_without_weights(layer, tmp_path):
    """A pool and a sum, rectified at a zero point that is not 0, and clamped."""
    for low, high in ((40, 255), (0, 255), (30, 200)):
        places = [0, 0] if isinstance(layer, Add) else [0]
        layers = [(Conv(2, 1), [-1]), (layer, places)]
        network = Network.graph("net", layers, (2, 3, 3))
        rng = np.random.default_rng(1)
        quantised = random_numbers(Choices(rng), network, powers=True)
        codes = Codes(0.25, 40, low, high)
        quantised = replace(quantised, codes={**quantised.codes, network.output.name: codes})
        path = tmp_path / "network.onnx"
        write_onnx(quantised, path)
        assert_equal_networks(read_onnx(path), quantised)


def test_most_random_networks_reach_onnx_runtime(seed):
    fits = [fits_float32(random_network(generator(seed, "qdq", case))) for case in range(60)]
    assert sum(fits) >= 40


@pytest.mark.parametrize(
    "layers",
    [
        (Linear(3), Linear(2)),
        (Linear(6), Conv(4, 1), MaxPool(2, 1, 1), Linear(3)),
        (MaxPool(2, 2), MaxPool(3, 1, 1), Conv(2, 3)),
        (Conv(3, 2, 2, 1), MaxPool(2, 1), MaxPool(2, 2), Linear(1)),
        (AvgPool(2, 1), AvgPool(4, 2), Conv(2, 1)),
        (Linear(6), AvgPool(1, 1), Linear(3)),
        (Conv(3, 2), MaxPool(2, 1), AvgPool(4, 4)),
    ],
    ids=str,
)
def test_unusual_order_of_layers(seed, layers, tmp_path):
    rng = generator(seed, "order")
    network = Network.chain("unusual", layers, (2, 6, 9))
    quantised = power_of_two(network, random_parameters(rng, network))
    write_onnx(quantised, tmp_path / "my.onnx")
    assert_equal_networks(read_onnx(tmp_path / "my.onnx"), quantised)
    images = random_images(rng, quantised)
    logits = run_onnx(tmp_path / "my.onnx", images)[0]
    assert logits.shape == (len(images), network.classes)
    if fits_float32(quantised):
        np.testing.assert_array_equal(
            as_integers(logits, quantised), reference.predict(quantised, images)
        )


def test_name_of_the_network(tmp_path):
    quantised = random_network(np.random.default_rng(1), name="named")
    path = tmp_path / "stem.onnx"
    write_onnx(quantised, path)
    assert read_onnx(path).network.name == "named"
    assert read_onnx(str(path), "given").network.name == "given"
    model = onnx.load(path)
    model.producer_name = "pytorch"
    onnx.save(model, path)
    assert read_onnx(path).network.name == "stem"


def test_write_refuses_what_it_cannot_do(tmp_path):
    quantised = random_network(np.random.default_rng(1))
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"cannot be written.*choose another place"):
        write_onnx(quantised, tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_onnx(quantised, tmp_path / "file" / "network.onnx")
    p = Shifts(np.ones((1, 1), np.int8), np.zeros(1, np.int32), 125, 0, None)
    network = Network.chain("extreme", (Linear(1),), (1, 1, 1))
    extreme = power_of_two(network, {"fc": p})
    with pytest.raises(UserError, match=r"scale .* is too extreme"):
        write_onnx(extreme, tmp_path / "network.onnx")


def avgpool_network(rng: np.random.Generator) -> QuantisedNetwork:
    """An average pool, maybe after a convolution, maybe with a layer after it."""
    kernel = int(2 ** rng.integers(0, 4))
    shape = (int(rng.integers(1, 9)), *(int(kernel + size) for size in rng.integers(0, 9, 2)))
    layers = [AvgPool(kernel, int(rng.integers(1, kernel + 2)))]
    if rng.integers(2):
        layers.insert(0, Conv(shape[0], 1))
    if rng.integers(3):
        layers.append(Linear(3))
    network = Network.chain("averages", layers, shape)
    return power_of_two(network, random_parameters(rng, network))


@pytest.mark.parametrize("case", range(20))
def test_average_pool(seed, case, tmp_path):
    rng = generator(seed, "average", case)
    path = tmp_path / "network.onnx"
    for _ in range(10):
        quantised = avgpool_network(rng)
        write_onnx(quantised, path)
        assert_equal_networks(read_onnx(path), quantised)
        if fits_float32(quantised):
            check_in_onnx_runtime(path, quantised, random_images(rng, quantised, 8))


@pytest.mark.parametrize("kernel", [1, 2, 4, 8])
def test_average_of_every_sum(kernel, tmp_path):
    """Every sum that a window can have, at every shift that tells, in ONNX Runtime's kernels."""
    area = kernel**2
    whole, rest = np.divmod(np.arange(255 * area + 1), area)
    images = (whole[:, None] + (np.arange(area) < rest[:, None])).astype(np.uint8)
    images = images.reshape(-1, 1, kernel, kernel)
    network = Network.chain("averages", (AvgPool(kernel, kernel), Linear(1)), (1, kernel, kernel))
    fine = network["pool1"].layer.sum_exponent
    one, none = np.ones((1, 1), np.int8), np.zeros(1, np.int32)
    for shift in range(fine + 10):
        exponent = 8 + fine - shift
        quantised = power_of_two(
            network,
            {
                "pool1": Shifts(None, None, 8, fine, exponent),
                "fc": Shifts(one, none, exponent, 0, None),
            },
        )
        write_onnx(quantised, tmp_path / "network.onnx")
        check_in_onnx_runtime(tmp_path / "network.onnx", quantised, images)


COMMITTED = sorted(ROOT.glob("mem/*/network.onnx"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_committed_network(seed, path, tmp_path):
    """Each committed network equals ONNX Runtime, and is written again byte for byte."""
    quantised = read_onnx(path)
    assert quantised.network.name == path.parent.name
    images = random_images(generator(seed, path.parent.name), quantised, 50)
    expected = reference.predict(quantised, images)
    for optimise in (False, True):
        logits = run_onnx(path, images, optimise)[0]
        np.testing.assert_array_equal(as_integers(logits, quantised), expected)
    write_onnx(quantised, tmp_path / "network.onnx")
    assert (tmp_path / "network.onnx").read_bytes() == path.read_bytes()
