"""The peers: each takes a row and says in which ways it can run it. One that is not installed is named and left out."""

from bench.peers.jax import Jax
from bench.peers.opencv import OpenCV
from bench.peers.peer import Contestant, Peer
from bench.peers.scipy import SciPy
from bench.peers.torch import Torch


def find() -> tuple[list[Peer], list[str]]:
    """The peers that are installed, and the names of those that are not."""
    peers: list[Peer] = []
    missing = []
    for peer in (Torch, Jax, OpenCV, SciPy):
        try:
            peers.append(peer())
        except ImportError:
            missing.append(peer.library)
    return peers, missing


__all__ = ["Contestant", "Peer", "find"]
