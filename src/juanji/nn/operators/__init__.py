"""Operators that networks from files need beyond those of ops, pools, norms and moves."""
