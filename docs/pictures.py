"""Draws the pictures in the README, docs/filters.png and docs/slide.png: `python docs/pictures.py`.

The scene is made here, every filter is juanji's.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt

import juanji as jj

HEIGHT, WIDTH = 300, 420
LIGHT = np.array([-0.5, 0.75, -0.6])
SPHERES = (  # centre, radius, colour
    ((-1.05, 0.0, 4.2), 1.0, (0.80, 0.24, 0.20)),
    ((1.15, -0.2, 3.6), 0.8, (0.16, 0.42, 0.70)),
    ((0.15, -0.65, 2.6), 0.35, (0.93, 0.72, 0.20)),
)

Array = npt.NDArray[np.float64]


def scene() -> npt.NDArray[np.uint8]:
    """Three lit spheres over a chequered floor, traced ray by ray."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    rays = np.stack([(columns - WIDTH / 2) / HEIGHT * 2, (HEIGHT / 2 - rows) / HEIGHT * 2 - 0.15, np.full(rows.shape, 1.8)], axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    light = LIGHT / np.linalg.norm(LIGHT)
    sky = np.clip(rays[..., 1:2] + 0.35, 0, 1)
    colour = (1 - sky) * np.array([0.93, 0.90, 0.84]) + sky * np.array([0.45, 0.62, 0.82])
    distance = np.full(rows.shape, np.inf)

    floor = rays[..., 1] < -1e-3
    reach = np.where(floor, -1.0 / np.where(floor, rays[..., 1], -1.0), np.inf)
    point = rays * np.where(np.isfinite(reach), reach, 0.0)[..., None]
    chequer = (np.floor(point[..., 0] * 1.5) + np.floor(point[..., 2] * 1.5)) % 2
    shade = np.where(_hit(point, light)[0] < np.inf, 0.35, 1.0)
    haze = np.exp(-0.06 * np.where(floor, reach, 0.0))
    tiles = (0.35 + 0.5 * chequer) * shade
    colour = np.where(floor[..., None], haze[..., None] * tiles[..., None] + (1 - haze[..., None]) * colour, colour)
    distance = np.where(floor, reach, distance)

    near, normal, paint = _hit(np.zeros_like(rays), rays)
    lit = np.clip((normal * light).sum(-1), 0, 1)
    shine = np.clip((rays - 2 * (rays * normal).sum(-1, keepdims=True) * normal) @ light, 0, 1) ** 30
    ball = paint * (0.25 + 0.75 * lit[..., None]) + 0.6 * shine[..., None]
    colour = np.where((near < distance)[..., None], ball, colour)
    return np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8)


def _hit(start: Array, direction: Array) -> tuple[Array, Array, Array]:
    """Distance, normal and colour of the first sphere on each ray."""
    shape = np.broadcast_shapes(start.shape, direction.shape)
    near, normal, paint = np.full(shape[:-1], np.inf), np.zeros(shape), np.zeros(shape)
    for centre, radius, colour in SPHERES:
        to = start - np.array(centre)
        b, c = (to * direction).sum(-1), (to * to).sum(-1) - radius**2
        inside = b * b - c
        t = -b - np.sqrt(np.maximum(inside, 0))
        found = (inside > 0) & (t > 1e-3) & (t < near)
        near = np.where(found, t, near)
        normal = np.where(found[..., None], (to + t[..., None] * direction) / radius, normal)
        paint = np.where(found[..., None], np.array(colour), paint)
    return near, normal, paint


def main() -> None:
    """Write the pictures beside this file."""
    picture = scene()
    panels = {
        "input": picture,
        "gaussian, sigma 4": jj.image.gaussian(picture, sigma=4),
        "sharpen": jj.image.filter(picture, "sharpen"),
        "emboss": jj.image.filter(picture, "emboss"),
        "sobel": jj.image.filter(picture, "sobel"),
        "outline": jj.image.filter(picture, "outline", dtype="float32").clip(0, 60),
    }
    figure, axes = plt.subplots(2, 3, figsize=(9.6, 4.9), layout="constrained")
    for axis, (name, panel) in zip(axes.flat, panels.items(), strict=True):
        axis.imshow(panel, cmap="gray")
        axis.set_title(name, fontsize=11)
        axis.set_axis_off()
    figure.savefig(Path(__file__).with_name("filters.png"), dpi=100)
    jj.image.write(Path(__file__).with_name("slide.png"), jj.show.slide((5, 5), (3, 3), stride=(1, 2)).image(3))


if __name__ == "__main__":
    main()
