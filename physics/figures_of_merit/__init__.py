"""Figures of merit: of Werner pairs by their fidelity, of arbitrary states by their density matrix."""
