"""Random weights, scales, zero points and activations for any network."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from random_networks import Choices, random_bias, random_weight

from convstream.model.base.errors import UserError
from convstream.model.network.codes import Codes
from convstream.model.network.graph import IMAGE, Network, Node
from convstream.model.network.layers import Add
from convstream.model.network.layers.base import Site
from convstream.model.network.quantised import Parameters, QuantisedNetwork

FINEST, COARSEST = -20, 1  # log2 of the scales of tensors
SUITED = 10  # of so many layers all but one have weights of a scale that suits their sums


def random_numbers(choices: Choices, network: Network, powers: bool) -> QuantisedNetwork:
    """Most codes neither vanish nor saturate.

    powers: all scales are powers of two, codes are uint8 and zero points 0, as in networks trained
    here. Otherwise scales are from 2**-20 to 2, of one tensor or of each channel; zero points are
    anywhere; codes are uint8, int8 or, now and then, of both types; activations are clamps of any
    range. The last sums leave as they are, or as codes.
    """
    codes = _codes(choices, network, powers)
    last = network.output
    if last.layer.accumulates and (powers or not choices.now_and_then(2)) and _one_scale(last):
        del codes[last.name]
    parameters: dict[str, Parameters] = {}
    values = {IMAGE: choices.data().integers(0, 256, (4, *network.input_shape), np.uint8)}
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        site = Site(
            inputs=tuple(codes[name] for name in node.inputs),
            output=codes.get(node.name),
            shape=node.in_shape,
        )
        if node.weight_shape is not None:
            site = _weights(choices, node, site, inputs, powers)
            assert site.weight is not None and site.bias is not None
            assert site.weight_scale is not None
            parameters[node.name] = Parameters(site.weight, site.weight_scale, site.bias)
        y = node.layer.integers(inputs, node.layer.operands(site))
        gives_sums = node.layer.accumulates and site.output is not None
        rounding = node.layer.rounding(site) if gives_sums else None
        values[node.name] = y if rounding is None else rounding.codes(y)
    makers = {node.name for node in network.nodes if not node.layer.passes} | {IMAGE}
    return QuantisedNetwork(
        network, parameters, {name: codes[name] for name in codes if name in makers}
    )


def _one_scale(node: Node) -> bool:
    """Whether a node's sums have one: those of some average pools have not."""
    try:
        node.layer.sum_scale(Site(weight_scale=np.ones(1, np.float32), shape=node.in_shape))
    except UserError:
        return False
    return True


def _codes(choices: Choices, network: Network, powers: bool) -> dict[str, Codes]:
    """By node and IMAGE: the same values where a layer passes codes on."""
    rng = choices.data()
    signed = choices.of((False, False, False, True, True, None)) if not powers else False
    scales = {IMAGE: rng.uniform(FINEST, COARSEST)}
    made: dict[str, Codes] = {}
    for name in [IMAGE, *(node.name for node in network.nodes)]:
        if name != IMAGE:
            node = network[name]
            spread = 3 if node.weight_shape is not None else 1
            scale = scales[node.inputs[0]] + rng.uniform(-spread, spread)
            scales[name] = float(np.clip(scale, FINEST, COARSEST))
        if powers:
            made[name] = Codes(2.0 ** round(scales[name]))
            continue
        zero = int(rng.choice([0, 128, 255, rng.integers(256)]))
        sign = bool(rng.integers(2)) if signed is None else signed
        made[name] = Codes(float(np.float32(2.0 ** scales[name])), zero, signed=sign)
    _equalise(network, made)
    for node in network.nodes:
        if not powers and (node.layer.accumulates or isinstance(node.layer, Add)):
            made[node.name] = _activated(choices, made[node.name])
    return made


def _equalise(network: Network, codes: dict[str, Codes]) -> None:
    changed = True
    while changed:
        changed = False
        for node in network.nodes:
            for name in node.inputs if node.layer.passes else ():
                if codes[name] != codes[node.name]:
                    least = min(codes[name], codes[node.name], key=_rank)
                    codes[name] = codes[node.name] = least
                    changed = True


def _rank(codes: Codes) -> tuple[float, int, bool]:
    return codes.scale, codes.zero_point, codes.signed


def _activated(choices: Choices, codes: Codes) -> Codes:
    kind = choices.of(("none", "relu", "relu", "clip"))
    if kind == "relu":
        return replace(codes, low=codes.zero_point)
    if kind == "clip":
        low, high = sorted(choices.data().integers(0, 256, 2).tolist())
        return replace(codes, low=low, high=high)
    return codes


def _weights(
    choices: Choices, node: Node, site: Site, inputs: list[np.ndarray], powers: bool
) -> Site:
    """The site with weights, biases, and scales that suit what the inputs give."""
    assert node.weight_shape is not None
    layer, weight = node.layer, random_weight(choices, node.weight_shape)
    site = site._replace(weight=weight, bias=np.zeros(len(weight), np.int32))
    acc = layer.integers(inputs, layer.operands(site))
    site = site._replace(bias=random_bias(choices, weight, int(np.abs(acc).max())))
    acc = layer.integers(inputs, layer.operands(site))
    rng = choices.data()
    output = site.inputs[0].scale if site.output is None else site.output.scale
    scale = 250 / max(1, np.abs(acc).max()) * output / site.inputs[0].scale
    if choices.now_and_then(SUITED):
        scale *= 2.0 ** rng.integers(-8, 9)
    if powers:
        scales = np.array([2.0 ** math.floor(math.log2(scale))])
    else:
        scales = scale * rng.uniform(0.3, 1, len(weight) if choices.now_and_then(2) else 1)
    return site._replace(weight_scale=scales.astype(np.float32))
