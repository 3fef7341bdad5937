#!/usr/bin/env python3
"""The loop that people run today, to be measured beside vqfarm: needs nothing but PyTorch.

A stand-in for nerdyrodent/VQGAN-CLIP at its default settings, written anew from what its parts
(taming-transformers, CLIP, kornia 0.5.4) compute: the same networks at the same sizes with made-up
weights, the same cutouts (`latest`, Af Pe Ji Er), operation for operation and in the same order, in the
precisions that it uses (VQGAN in float32; CLIP in half precision on a GPU, float32 on a CPU).
Where the very programs can be had, docs/performance.md says how this one compares with them.

    scripts/original.py --device cuda --size 256 384 512 --seconds 5

prints one JSON object a size.
"""

import argparse
import json
import math
import time

import torch
from torch import nn
from torch.nn import functional as F


# VQGAN, f16: taming's decoder and its quantiser.

def norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


def swish(x):
    return x * torch.sigmoid(x)


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm1, self.conv1 = norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.dropout = nn.Dropout(0.0)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x):
        h = self.conv1(swish(self.norm1(x)))
        h = self.conv2(self.dropout(swish(self.norm2(h))))
        return (x if self.shortcut is None else self.shortcut(x)) + h


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        b, c, h, w = x.shape
        n = self.norm(x)
        q = self.q(n).reshape(b, c, h * w).permute(0, 2, 1)
        k, v = self.k(n).reshape(b, c, h * w), self.v(n).reshape(b, c, h * w)
        weights = torch.softmax(torch.bmm(q, k) * c ** -0.5, dim=2).permute(0, 2, 1)
        return x + self.out(torch.bmm(v, weights).reshape(b, c, h, w))


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def decoder(ch=128, mult=(1, 1, 2, 2, 4), blocks=3, z=256, attend_at=16, nominal=256):
    side, channels = nominal >> (len(mult) - 1), ch * mult[-1]
    layers = [nn.Conv2d(z, z, 1), nn.Conv2d(z, channels, 3, padding=1)]
    layers += [Block(channels, channels), Attention(channels), Block(channels, channels)]
    for level in reversed(range(len(mult))):
        for _ in range(blocks):
            layers.append(Block(channels, ch * mult[level]))
            channels = ch * mult[level]
            if side == attend_at:
                layers.append(Attention(channels))
        if level:
            layers.append(Upsample(channels))
            side *= 2
    return nn.Sequential(*layers, norm(channels), Swish(), nn.Conv2d(channels, 3, 3, padding=1))


class Swish(nn.Module):
    def forward(self, x):
        return swish(x)


class ReplaceGradient(torch.autograd.Function):
    """The first, with the gradient of the second."""

    @staticmethod
    def forward(ctx, ahead, back):
        ctx.shape = back.shape
        return ahead

    @staticmethod
    def backward(ctx, gradient):
        return None, gradient.sum_to_size(ctx.shape)


class ClampWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, low, high):
        ctx.range = low, high
        ctx.save_for_backward(x)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, gradient):
        x, = ctx.saved_tensors
        return gradient * (gradient * (x - x.clamp(*ctx.range)) >= 0), None, None


def quantise(x, codebook):
    distance = x.pow(2).sum(dim=-1, keepdim=True) + codebook.pow(2).sum(dim=1) - 2 * x @ codebook.T
    rows = F.one_hot(distance.argmin(-1), codebook.shape[0]).to(distance.dtype) @ codebook
    return ReplaceGradient.apply(rows, x)


# CLIP's ViT-B/32, image side.

class LayerNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.type(torch.float32)).type(x.dtype)


class QuickGelu(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class TransformerBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads)
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), QuickGelu(), nn.Linear(4 * width, width))

    def forward(self, x):
        n = self.norm1(x)
        x = x + self.attention(n, n, n, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, side=224, patch=32, width=768, layers=12, outputs=512):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.token = nn.Parameter(torch.randn(width) * width ** -0.5)
        self.places = nn.Parameter(torch.randn((side // patch) ** 2 + 1, width) * width ** -0.5)
        self.before, self.after = LayerNorm(width), LayerNorm(width)
        self.blocks = nn.Sequential(*(TransformerBlock(width, width // 64) for _ in range(layers)))
        self.projection = nn.Parameter(torch.randn(width, outputs) * width ** -0.5)

    def forward(self, x):
        x = self.patches(x.type(self.token.dtype)).flatten(2).permute(0, 2, 1)
        token = self.token + torch.zeros(x.shape[0], 1, x.shape[-1], dtype=x.dtype, device=x.device)
        x = self.before(torch.cat([token, x], dim=1) + self.places)
        x = self.blocks(x.permute(1, 0, 2)).permute(1, 0, 2)
        return self.after(x[:, 0, :]) @ self.projection


# kornia 0.5.4's augmentations. Parameters are drawn on the CPU, and only the chosen cutouts are changed.

def to_some(batch, p, change, same=False):
    chosen = torch.bernoulli(torch.full((1,) if same else (len(batch),), p)).bool().expand(len(batch))
    n = int(chosen.sum())
    if n == 0:
        return batch
    if n == len(batch):
        return change(batch)
    out = batch.clone()
    out[chosen] = change(batch[chosen])
    return out


def uniform(n, low, high):
    return torch.empty(n).uniform_(low, high)


def warp(x, matrix):
    """Samples at the matrix's inverse, [n, 3, 3] in pixels, as kornia's homography warp does."""
    n, _, h, w = x.shape
    scale = torch.tensor([[2 / (w - 1), 0, -1], [0, 2 / (h - 1), -1], [0, 0, 1.0]], device=x.device)
    matrix = scale @ matrix @ torch.inverse(scale)
    lines = [torch.linspace(-1, 1, side, device=x.device) for side in (h, w)]
    y, x_ = torch.meshgrid(*lines, indexing="ij")
    points = torch.stack([x_, y, torch.ones_like(x_)], -1).view(1, -1, 3).expand(n, -1, -1)
    points = torch.bmm(points, torch.inverse(matrix).permute(0, 2, 1))
    depth = points[..., 2:]
    depth = torch.where(depth.abs() > 1e-8, 1 / (depth + 1e-8), torch.ones_like(depth))
    grid = (points[..., :2] * depth).view(n, h, w, 2)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def affine(x):
    n, _, h, w = x.shape
    turn = torch.deg2rad(uniform(n, -15, 15)).to(x.device)
    bend = torch.deg2rad(uniform(n, -5, 5)).to(x.device)
    shift = uniform(n, -0.1 * h, 0.1 * h).to(x.device)
    eye = torch.eye(3, device=x.device).expand(n, 3, 3)
    centre = eye.clone()
    centre[:, 0, 2], centre[:, 1, 2] = (w - 1) / 2, (h - 1) / 2
    rotation = eye.clone()
    rotation[:, 0, 0], rotation[:, 0, 1] = torch.cos(turn), torch.sin(turn)
    rotation[:, 1, 0], rotation[:, 1, 1] = -torch.sin(turn), torch.cos(turn)
    shear = eye.clone()
    shear[:, 0, 1] = -torch.tan(bend)
    move = eye.clone()
    move[:, 1, 2] = shift
    return warp(x, move @ centre @ rotation @ shear @ torch.inverse(centre))


def perspective(x):
    n, _, h, w = x.shape
    start = torch.tensor([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1.0]]).expand(n, 4, 2)
    inward = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1.0]])
    end = start + torch.rand(n, 4, 2) * torch.tensor([0.7 * w / 2, 0.7 * h / 2]) * inward
    start, end = start.to(x.device), end.to(x.device)
    one, zero = torch.ones_like(start[..., :1]), torch.zeros_like(start[..., :1])
    sx, sy, ex, ey = start[..., :1], start[..., 1:], end[..., :1], end[..., 1:]
    upper = torch.cat([sx, sy, one, zero, zero, zero, -sx * ex, -sy * ex], -1)
    lower = torch.cat([zero, zero, zero, sx, sy, one, -sx * ey, -sy * ey], -1)
    system = torch.cat([upper, lower], 1)
    solved = torch.linalg.solve(system, torch.cat([ex, ey], 1))
    return warp(x, torch.cat([solved[..., 0], torch.ones(n, 1, device=x.device)], 1).view(n, 3, 3))


def to_hsv(x):
    high, low = x.max(-3)[0], x.min(-3)[0]
    delta = high - low
    saturation = delta / (high + 1e-6)
    delta = torch.where(delta == 0, torch.ones_like(delta), delta)
    places = torch.stack([high - x[:, i] for i in range(3)], -3)
    r, g, b = places.unbind(-3)
    hues = torch.stack([b - g, 2 * delta + r - b, 4 * delta + g - r], -3)
    first = (x == high.unsqueeze(-3)).to(torch.uint8).argmax(-3, keepdim=True)
    hue = (torch.gather(hues, -3, first).squeeze(-3) / delta / 6) % 1
    return torch.stack([2 * math.pi * hue, saturation, high], -3)


def to_rgb(x):
    hue, saturation, value = x[:, 0] / (2 * math.pi), x[:, 1], x[:, 2]
    sixth = torch.floor(hue * 6) % 6
    rest = (hue * 6) % 6 - sixth
    p, q, t = (value * (1 - saturation * part) for part in (1, rest, 1 - rest))
    all_of = torch.stack([value, q, p, p, t, value, t, value, value, q, p, p, p, p, t, value, value, q], 1)
    sixth = sixth.long()
    return torch.gather(all_of, 1, torch.stack([sixth, sixth + 6, sixth + 12], 1))


def jitter(x):
    n = len(x)
    each = lambda low, high: uniform(n, low, high).to(x.device)
    bright, contrast, saturation, hue = each(-.1, .1), each(.9, 1.1), each(.9, 1.1), each(-.1, .1)
    over = lambda factor: factor.view(-1, 1, 1, 1)

    def saturated(x):
        h, s, v = to_hsv(x).chunk(3, dim=1)
        return to_rgb(torch.cat([h, (s * over(saturation)).clamp(0, 1), v], 1))

    def turned(x):
        h, s, v = to_hsv(x).chunk(3, dim=1)
        return to_rgb(torch.cat([torch.fmod(h + over(hue) * 2 * math.pi, 2 * math.pi), s, v], 1))

    steps = [lambda x: (x + over(bright)).clamp(0, 1), lambda x: (x * over(contrast)).clamp(0, 1), saturated, turned]
    for step in torch.randperm(4).tolist():
        x = steps[step](x)
    return x


def erase(x):
    _, _, h, w = x.shape
    area, ratio = float(uniform(1, .1, .4)) * h * w, float(uniform(1, .3, 1 / .3))
    tall = max(1, min(h, round(math.sqrt(area * ratio))))
    wide = max(1, min(w, round(math.sqrt(area / ratio))))
    top, left = int(torch.randint(h - tall + 1, ())), int(torch.randint(w - wide + 1, ()))
    mask, values = torch.zeros_like(x), torch.zeros_like(x)
    for i in range(len(x)):
        mask[i, :, top:top + tall, left:left + wide] = 1
    return torch.where(mask == 1, values, x)


def cutouts(image, count, side):
    pooled = [(F.adaptive_avg_pool2d(image, side) + F.adaptive_max_pool2d(image, side)) / 2 for _ in range(count)]
    batch = torch.cat(pooled)
    batch = to_some(batch, 0.7, affine)
    batch = to_some(batch, 0.7, perspective)
    batch = to_some(batch, 0.7, jitter)
    batch = to_some(batch, 0.7, erase, same=True)
    strengths = batch.new_empty([count, 1, 1, 1]).uniform_(0, 0.1)
    return batch + strengths * torch.randn_like(batch)


def prompt_loss(features, target):
    apart = F.normalize(features.unsqueeze(1), dim=2) - F.normalize(target.unsqueeze(0), dim=2)
    return apart.norm(dim=2).div(2).arcsin().pow(2).mul(2).mean()


class Loop:
    """One picture on its way, as the original keeps it."""

    def __init__(self, size, count, device):
        torch.manual_seed(0)
        self.count = count
        self.decoder = decoder().eval().requires_grad_(False).to(device)
        self.codebook = torch.randn(16384, 256, device=device)
        self.clip = VisionTransformer().eval().requires_grad_(False).to(device)
        if device.type == "cuda":
            half = (nn.Conv2d, nn.Linear, nn.MultiheadAttention)
            for module in self.clip.modules():
                if isinstance(module, half):
                    module.half()
            for parameter in (self.clip.token, self.clip.places, self.clip.projection):
                parameter.data = parameter.data.half()
        self.target = torch.randn(1, 512, device=device)
        colour = lambda values: torch.tensor(values, device=device).view(1, 3, 1, 1)
        self.mean = colour([.48145466, .4578275, .40821073])
        self.deviation = colour([.26862954, .26130258, .27577711])
        rows = self.codebook[torch.randint(16384, [(size // 16) ** 2], device=device)]
        self.z = rows.view(1, size // 16, size // 16, 256).permute(0, 3, 1, 2).clone().requires_grad_()
        self.low, self.high = (limit(0).values[None, :, None, None] for limit in (self.codebook.min, self.codebook.max))
        self.optimizer = torch.optim.Adam([self.z], lr=0.1)

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        rows = quantise(self.z.movedim(1, 3), self.codebook).movedim(3, 1)
        image = ClampWithGradient.apply(self.decoder(rows).add(1).div(2), 0, 1)
        cut = (cutouts(image, self.count, 224) - self.mean) / self.deviation
        loss = prompt_loss(self.clip(cut).float(), self.target)
        loss.backward()
        self.optimizer.step()
        with torch.inference_mode():
            self.z.copy_(self.z.maximum(self.low).minimum(self.high))
        return loss


def measure(args, size, device):
    loop = Loop(size, args.cutouts, device)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(args.warm_up):
        loss = loop.step()
    wait()
    begin, done = time.perf_counter(), 0
    used = time.process_time()
    while done < args.iterations or (args.iterations == 0 and time.perf_counter() - begin < args.seconds):
        loss = loop.step()
        done += 1
        if args.iterations == 0 and done % 5 == 0:
            wait()
    wait()
    seconds = (time.perf_counter() - begin) / done
    assert math.isfinite(loss.item()), "the loss is not a number"
    answer = dict(device=str(device), size=size, cutouts=args.cutouts, iterations=done, seconds=seconds,
                  processor_seconds=(time.process_time() - used) / done, iterations_per_second=1 / seconds,
                  images_per_hour=3600 / (args.job_iterations * seconds))
    if device.type == "cuda":
        answer.update(gpu=torch.cuda.get_device_name(device), peak_memory=torch.cuda.max_memory_allocated(device))
        torch.cuda.reset_peak_memory_stats(device)
    return answer


def main():
    about = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=about)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, nargs="+", default=[256], help="side in pixels, multiples of 16")
    parser.add_argument("--cutouts", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=0, help="how many are measured; 0: as many as --seconds allow")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warm-up", type=int, default=2, help="iterations before, which are not measured")
    parser.add_argument("--job-iterations", type=int, default=300, help="iterations of one image, for images an hour")
    args = parser.parse_args()
    for size in args.size:
        print(json.dumps(measure(args, size, torch.device(args.device))), flush=True)


if __name__ == "__main__":
    main()
