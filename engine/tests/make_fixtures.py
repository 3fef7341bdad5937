#!/usr/bin/env python3
"""Makes the golden numbers for the augmentations of geometry, pixels and bending.

    pip install torch==2.11.0 kornia==0.5.4 safetensors
    python engine/tests/make_fixtures.py

Runs kornia 0.5.4's own augmentations with fixed parameters and writes what comes out to
engine/tests/fixtures/augment_*.safetensors. Everything is computed in float64, so that the
numbers are those of the formulas and not of one order of rounding, and stored as float32.
"""

import functools
import json
import pathlib

import kornia.augmentation as K
import torch
from kornia.geometry.transform import elastic_transform, imgwarp, thin_plate_spline
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent / "fixtures"
SIZE = 13


def double_precision():
    """Makes kornia 0.5.4 run on this torch, and in double precision throughout."""
    # torch.solve is gone; its arguments were the other way round.
    torch.solve = lambda b, a: (torch.linalg.solve(a, b), a)
    import kornia.utils

    grid = kornia.utils.create_meshgrid

    @functools.wraps(grid)
    def double_grid(*args, **kwargs):
        return grid(*args, **{**kwargs, "dtype": torch.float64})

    for module in (imgwarp, thin_plate_spline, kornia.utils):
        module.create_meshgrid = double_grid
    gaussian = elastic_transform.get_gaussian_kernel2d

    def double_gaussian(size, sigma):
        return gaussian(size, tuple(torch.tensor(s, dtype=torch.float64) for s in sigma))

    elastic_transform.get_gaussian_kernel2d = double_gaussian


def picture(generator, n):
    """Noise over ramps, exact in float32."""
    x = torch.rand(n, 3, SIZE, SIZE, generator=generator)
    ramp = torch.linspace(0, 1, SIZE)
    return (0.6 * x + 0.4 * ramp).double()


def run(generator, x, change):
    """What `change` makes of x, and the gradient that a random cotangent sends back."""
    x = x.clone().requires_grad_(True)
    y = change(x)
    cotangent = torch.randn(y.shape, generator=generator).double()
    y.backward(cotangent)
    return y.detach(), cotangent, x.grad


def augment(augmentation, params):
    def change(x):
        matrix = augmentation.compute_transformation(x, params)
        return augmentation.apply_transform(x, params, matrix)

    return change


def write(kind, cases, changes, generator, n=2):
    tensors = {}
    for i, change in enumerate(changes):
        x = picture(generator, n)
        y, cotangent, grad = run(generator, x, change)
        found = {"x": x, "y": y, "cotangent": cotangent, "grad": grad}
        tensors |= {f"{name}.{i}": t.float().contiguous() for name, t in found.items()}
    for i, case in enumerate(cases):
        for name in [k for k, v in case.items() if torch.is_tensor(v)]:
            tensors[f"{name}.{i}"] = case.pop(name).float().contiguous()
    source = "kornia 0.5.4 in float64 (engine/tests/make_fixtures.py)"
    meta = {"kind": kind, "source": source, "cases": json.dumps(cases)}
    save_file(tensors, OUT / f"{kind}.safetensors", metadata=meta)


def of(*values):
    return torch.tensor(values, dtype=torch.float64)


def geometry():
    g = torch.Generator().manual_seed(11)
    cases, changes = [], []
    centre = of([(SIZE - 1) / 2] * 2, [(SIZE - 1) / 2] * 2)

    def affine(padding, angles, translations, shears):
        params = {
            "translations": of(*translations),
            "center": centre,
            "scale": torch.ones(2, 2).double(),
            "angle": of(*angles),
            "sx": of(*[s[0] for s in shears]),
            "sy": of(*[s[1] for s in shears]),
        }
        cases.append(
            {"move": "affine", "padding": padding, "angle": angles, "translate": translations, "shear": shears}
        )
        changes.append(augment(K.RandomAffine(15.0, padding_mode=padding), params))

    affine("zeros", [12.0, -7.5], [[0.0, 1.9], [0.0, -2.1]], [[4.5, 0.0], [-3.0, 0.0]])
    affine("border", [-28.0, 0.0], [[1.5, 0.25], [-2.0, 0.0]], [[0.0, 0.0], [2.0, -5.0]])

    far = SIZE - 1.0
    start = of([[0, 0], [far, 0], [far, far], [0, far]]).repeat(2, 1, 1)
    inward = of([1, 1], [-1, 1], [-1, -1], [1, -1])
    for distortion in (0.7, 0.2):
        end = start + distortion * SIZE / 2 * torch.rand(2, 4, 2, generator=g).double() * inward
        cases.append({"move": "perspective", "corners": end.tolist()})
        changes.append(augment(K.RandomPerspective(distortion), {"start_points": start, "end_points": end}))

    cases.append({"move": "rotation", "angle": [14.0, -3.0]})
    changes.append(augment(K.RandomRotation(15.0), {"degrees": of(14.0, -3.0)}))

    # Boxes as x, y, width, height.
    boxes = [[2, 5, 7, 8], [0, 1, 12, 6]]
    corners = [[[x, y], [x + w - 1, y], [x + w - 1, y + h - 1], [x, y + h - 1]] for x, y, w, h in boxes]
    crop = K.RandomResizedCrop(size=(SIZE, SIZE), cropping_mode="resample")
    cases.append({"move": "resized_crop", "boxes": boxes})
    changes.append(augment(crop, {"src": of(*corners), "dst": start}))
    write("augment_geometry", cases, changes, g)


def pixels():
    g = torch.Generator().manual_seed(12)
    factors = [0.0, 0.28]
    boxes = [[3, 4, 6, 5], [0, 12, 13, 1]]
    columns = [of(*column) for column in zip(*boxes)]
    erase = dict(zip(("xs", "ys", "widths", "heights"), columns), values=of(0.0, 0.0))
    cases = [{"change": "sharpness", "factor": factors}, {"change": "erase", "boxes": boxes}]
    changes = [
        augment(K.RandomSharpness(0.3), {"sharpness_factor": of(*factors)}),
        augment(K.RandomErasing(), erase),
    ]
    for change in (K.RandomSharpness, K.RandomErasing):
        change.compute_transformation = lambda self, x, params: None
    write("augment_pixels", cases, changes, g)


def bend():
    g = torch.Generator().manual_seed(13)
    # Noise of one sign a cutout, so that the displacement is worth measuring.
    noise = (torch.rand(2, 2, SIZE, SIZE, generator=g) * of(1.0, -1.0).view(2, 1, 1, 1)).float().double()
    held = of([-1, -1], [-1, 1], [1, -1], [1, -1], [0, 0]).repeat(2, 1, 1)
    moved = held + (torch.rand(2, 5, 2, generator=g).double() * 2 - 1) * 0.8
    cases = [
        {"change": "elastic", "noise": noise},
        {"change": "thin_plate", "moved": moved.tolist()},
    ]
    changes = [
        augment(K.RandomElasticTransform(), {"noise": noise}),
        augment(K.RandomThinPlateSpline(), {"src": held, "dst": moved}),
    ]
    write("augment_bend", cases, changes, g)


if __name__ == "__main__":
    torch.set_num_threads(1)
    double_precision()
    geometry()
    pixels()
    bend()
