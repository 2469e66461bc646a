"""For whom code is made."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """Vector width and register count are parameters of the generator, never literals in it."""

    triple: str
    cpu: str
    features: str
    vector_bits: int
    registers: int
    masks: bool  # whether the first lanes of a vector can be stored under a mask
