"""Operators that networks from files need beyond those of layers, activations, joins, pools, norms and moves."""
